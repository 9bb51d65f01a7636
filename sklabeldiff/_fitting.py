"""A fit is done, or it has changed nothing, or it was interrupted and is of use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

from sklabeldiff._callbacks import HAVE_CALLBACKS, with_callbacks
from sklabeldiff._parameters import checked_random_state
from sklabeldiff.core import processes

Method = TypeVar("Method", bound=Callable[..., Any])

# The stacklevel of a warning in what a decorated fit calls: decorators are frames.
CALLER_OF_FIT = 4 + HAVE_CALLBACKS


def fit_seed(random_state: Any, below: int = 2**31 - 1) -> int:
    """Draw the seed of a fit; of processes that share it the main one draws.

    A stage that is given a later number needs a lower `below`.
    """
    seed = int(checked_random_state(random_state).randint(below))
    return processes.current().of_main(seed)


def no_bar(verbose: int) -> bool:
    """Whether to hide a progress bar: there is one, whatever number of processes."""
    return verbose <= 0 or not processes.current().is_main


def whole_fit(method: Method) -> Method:
    """Decorate `fit`: it has callbacks, and an error leaves the estimator as it was.

    A ``_try_fitted`` and a ``_share_fitted`` of the estimator are part of the fit.

    An estimator that was fitted before still predicts as it did, one that was not is
    not fitted. Only `kept_if_interrupted` makes an exception.
    """
    with_teardown = with_callbacks(method)

    @wraps(method)
    def fit(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        try:
            with_teardown(self, *args, **kwargs)
            if hasattr(self, "_try_fitted"):
                self._try_fitted()
            if hasattr(self, "_share_fitted"):
                self._share_fitted()
            return self
        except BaseException:
            vars(self).pop("_tried_rows", None)
            if not vars(self).pop("_kept", False):
                vars(self).clear()
                vars(self).update(before)
            raise

    return fit  # type: ignore[return-value]


@contextmanager
def kept_if_interrupted(
    estimator: Any, finish: Callable[[], object], is_of_use: Callable[[], bool]
) -> Iterator[None]:
    """Finish on Ctrl-C with what is learnt so far, and pass the interruption on.

    Parameters
    ----------
    estimator : estimator
        Its fit is decorated with `whole_fit`.
    finish : callable
        Sets the fitted attributes, as if training had ended now.
    is_of_use : callable
        Whether anything is learnt yet; else the estimator is left as before the fit.
    """
    try:
        yield
    except KeyboardInterrupt:
        if is_of_use():
            finish()
            estimator._kept = True
        raise
