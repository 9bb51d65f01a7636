"""scikit-learn's callbacks around a fit: progress bars, early stop, scores on the way.

They came with scikit-learn 1.9 and may still change, so this module alone knows them.
Before 1.9 it does nothing: an estimator has no ``set_callbacks``, and its fit tells
nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sklabeldiff.core import processes
from sklabeldiff.core.training import Trainer

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:
    HAVE_CALLBACKS = False
    Method = TypeVar("Method", bound=Callable[..., Any])

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where scikit-learn has no callbacks."""

    def with_callbacks(method: Method) -> Method:
        """Return the method as it is."""
        return method
else:
    HAVE_CALLBACKS = True

__all__ = [
    "HAVE_CALLBACKS",
    "CallbackSupportMixin",
    "FitTask",
    "Snapshot",
    "with_callbacks",
]

# Attributes that make a copy of the estimator predict as if training had ended here.
Snapshot = Callable[[Trainer], dict[str, Any]]


class FitTask:
    """A fit, or a stage of one, whose epochs are told to the estimator's callbacks.

    For use inside a fit that `whole_fit` decorates. The callbacks hear that the
    task begins; `end` tells them that it is done.

    Parameters
    ----------
    estimator : estimator
        Has `CallbackSupportMixin`.
    X, y : object
        What fit was given; callbacks may ask for them.
    n_subtasks : int or None
        Epochs or stages at most; None if that is not known, 0 for a fit without any.
    """

    def __init__(
        self, estimator: Any, X: Any, y: Any, n_subtasks: int | None = 0
    ) -> None:
        context = None
        # Of several processes one tells: else there were a bar from each.
        if HAVE_CALLBACKS and processes.current().is_main:
            context = estimator._init_callback_context(max_subtasks=n_subtasks)
        self._begin(context, {"estimator": estimator, "X": X, "y": y})

    def _begin(self, context: Any, told: dict[str, Any]) -> None:
        self._context, self._told = context, told
        if context is not None:
            context.call_on_fit_task_begin(**told)

    def stage(self, name: str, n_epochs: int | None = None) -> FitTask:
        """Begin a part of this task that has epochs of its own."""
        stage, context = FitTask.__new__(FitTask), self._context
        if context is not None:
            context = context.subcontext(name, max_subtasks=n_epochs)
        stage._begin(context, self._told)
        return stage

    @contextmanager
    def handed_to(self, inner: Any) -> Iterator[None]:
        """Let the callbacks that go down hear of the fit of an estimator within."""
        if self._context is None:
            yield
            return
        part = self._context.subcontext("fit-estimator")
        with part.propagate_callback_context(inner):
            part.call_on_fit_task_begin(**self._told)
            yield
            part.call_on_fit_task_end(**self._told)

    def end(self) -> None:
        """Tell that the task is done: at the end of a fit, the estimator is fitted."""
        if self._context is None:
            return
        is_fit = self._context.task_name == "fit"
        self._context.call_on_fit_task_end(
            **self._told, reconstruction_attributes={} if is_fit else None
        )

    def listener(self, snapshot: Snapshot | None = None) -> _Epochs | None:
        """Return what a `Trainer` tells of its epochs; None where nobody listens."""
        if self._context is None or not hasattr(
            self._told["estimator"], "_skl_callbacks"
        ):
            return None
        return _Epochs(self._context, self._told, snapshot)


class _Epochs:
    """The `EpochListener` that passes epochs on to the callbacks."""

    def __init__(
        self, context: Any, told: dict[str, Any], snapshot: Snapshot | None
    ) -> None:
        self.context, self.told, self.snapshot = context, told, snapshot

    def begin_epoch(self) -> None:
        self.epoch = self.context.subcontext("epoch")
        self.epoch.call_on_fit_task_begin(**self.told)

    def end_epoch(self, trainer: Trainer) -> bool:
        """Whether a callback wants the training to stop."""
        snapshot = self.snapshot

        def attributes() -> dict[str, Any]:  # only computed for who asks
            assert snapshot is not None
            return snapshot(trainer)

        stop: bool = self.epoch.call_on_fit_task_end(
            **self.told,
            reconstruction_attributes=None if snapshot is None else attributes,
        )
        return stop
