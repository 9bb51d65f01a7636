"""Checks of how labels may be written: what is read, refused and given back."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from sklabeldiff.utils._check_tools import (
    GOOD_ACCURACY,
    N_CLASSES,
    NAMES,
    accuracy,
    fit,
    make_data,
    named_sets,
    one_hot,
    require,
    require_equal,
    seeded,
)


def check_single_candidates_are_plain_labels(name: str, estimator: Any) -> None:
    """Check that sets of one label are that label.

    Ordinary supervised learning is the limit of learning from candidate sets: one
    candidate a row leaves nothing to resolve, and the method has to do well.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If singletons and a 1-D array of labels give other probabilities than the
        one-hot mask, or if fewer than nine of ten labels are learnt.
    """
    X, _, truth = make_data()
    model = fit(name, estimator, X, one_hot(truth), "a one-hot mask")
    expected = model.predict_proba(X)
    forms = {
        "sets of one label": [{label} for label in truth.tolist()],
        "one label per row": truth,
    }
    for what, y in forms.items():
        found = fit(name, estimator, X, y, what).predict_proba(X)
        require_equal(
            found,
            expected,
            f"{name} learns something else from {what} than from the one-hot mask of "
            "the same labels. A label is a set with a single candidate.",
        )
    learnt = accuracy(model.predict(X), truth)
    require(
        learnt > GOOD_ACCURACY,
        f"{name} learns {learnt:.0%} of the true labels of classes that lie far "
        f"apart. A right estimator learns more than {GOOD_ACCURACY:.0%}.",
    )


def check_equal_forms_give_equal_fits(name: str, estimator: Any) -> None:
    """Check that a model depends on the sets, not on how they are written.

    A user who turns a float mask into lists of labels must not get another model, or
    no two results can be compared. Nothing may be learnt from the dtype, the memory
    layout or the order in which labels are listed.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If a form is refused, or gives other probabilities than a bool mask.
    """
    X, Y, _ = make_data()
    expected = fit(name, estimator, X, Y).predict_proba(X)
    for what, y in _forms(Y).items():
        found = fit(name, estimator, X, y, what).predict_proba(X)
        require_equal(
            found,
            expected,
            f"{name} learns something else from {what} than from a bool mask of the "
            "same sets. Forms that mean the same sets must give the same model, bit "
            "by bit.",
        )


def _forms(Y: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the same sets in other forms, by what they are called in messages."""
    sets = named_sets(Y, range(N_CLASSES))
    forms = {
        "an integer mask in Fortran order": np.asfortranarray(Y.astype(int)),
        "a float mask": Y.astype(float),
        "a sparse mask": sp.csr_array(Y.astype(int)),
        "a list of frozensets": sets,
        "a list of lists": [sorted(s, reverse=True) for s in sets],
    }
    pandas = _pandas()
    if pandas is not None:
        forms["a DataFrame"] = pandas.DataFrame(Y, columns=range(N_CLASSES))
    return forms


def check_string_classes(name: str, estimator: Any) -> None:
    """Check that a user gets back the labels that were given.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If ``classes_`` are not the sorted strings of the sets, or not the columns of a
        DataFrame in their order, or if predictions are not these labels.
    """
    X, Y, truth = make_data()
    forms: dict[str, Any] = {"sets of strings": (named_sets(Y, NAMES), sorted(NAMES))}
    pandas = _pandas()
    if pandas is not None:
        frame = pandas.DataFrame(Y, columns=NAMES)
        forms["a DataFrame with named columns"] = (frame, NAMES)
    for what, (y, wanted) in forms.items():
        model = fit(name, estimator, X, y, what)
        classes = np.asarray(model.classes_).tolist()
        require(
            classes == wanted,
            f"after a fit to {what}, classes_ of {name} are {classes}, not {wanted}. A "
            "right estimator sorts labels, and keeps the columns of a frame in order.",
        )
        right = accuracy(model.predict(X), np.array(NAMES)[truth])
        require(
            right > GOOD_ACCURACY,
            f"after a fit to {what}, {right:.0%} of the predictions of {name} are the "
            f"label of the row, for example {model.predict(X[:1])[0]!r} for "
            f"{NAMES[truth[0]]!r}. A right estimator returns the labels it was given.",
        )


def check_refuses_bad_sets(name: str, estimator: Any) -> None:
    """Check that impossible targets are refused and not repaired in silence.

    An empty set is most often a mistake in the preparation of the data. Its row
    number, counted from 0, is what the user needs to find it.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If an empty set, another number of rows than X has, a negative or a NaN weight
        gives anything but a ValueError, or if that for an empty set has no row number.
    """
    X, Y, _ = make_data()
    row = 17
    empty, negative, missing = Y.astype(float), Y.astype(float), Y.astype(float)
    empty[row] = 0
    negative[row, 0] = -1
    missing[row, 0] = np.nan
    sets = named_sets(Y, range(N_CLASSES))
    sets[row] = frozenset()
    _require_refusal(name, estimator, X, empty, f"the empty row {row}", row)
    _require_refusal(name, estimator, X, sets, f"the empty set in row {row}", row)
    _require_refusal(name, estimator, X, Y[:-1], "a mask of one row less than X")
    _require_refusal(name, estimator, X, negative, "a negative weight")
    _require_refusal(name, estimator, X, missing, "a weight of NaN")


def _require_refusal(
    name: str, estimator: Any, X: Any, y: Any, what: str, row: int | None = None
) -> None:
    """Demand a ValueError; with `row`, one that names it."""
    remedy = "A right estimator raises a ValueError."
    try:
        seeded(estimator).fit(X, y)
    except ValueError as error:
        require(
            row is None or re.search(rf"\b{row}\b", str(error)),
            f"the message of {name} on {what} does not have its number. A right "
            f"estimator names the first bad row, counted from 0. It says: {error}",
        )
        return
    except Exception as error:
        raise AssertionError(
            f"{name} refuses {what}, but raises {type(error).__name__}. {remedy} The "
            f"message is: {error}"
        ) from error
    raise AssertionError(f"{name} accepts {what}. {remedy}")


def _pandas() -> Any:
    """Return pandas, or None where it is not installed."""
    try:
        import pandas
    except ImportError:
        return None
    return pandas
