"""Checks of what sets are evidence for: unlabelled rows, absent classes, beliefs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

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

# Mean absolute difference of probabilities. Networks start from weights that do not
# permute: those of this package differ by 0.001 at most. An estimator that takes the
# first candidate differs by 0.3.
PERMUTATION_TOLERANCE = 0.05
PERMUTATION_AGREEMENT = 0.95
# Mean absolute difference of probabilities and beliefs. A full set may take one of ten
# votes from each of the rows near it, and shifts the batches of a network: 0.02 at most
# in this package. Counting it for the first class moves no more, so its own beliefs and
# check_unlabelled_rows_allowed have to tell.
UNLABELLED_TOLERANCE = 0.05
# Least belief in its own class of an unlabelled row among many of that class. Equal
# belief in all classes is allowed; half of that is not.
LEAST_BELIEF = 0.5 / N_CLASSES
SUM_TOLERANCE = 1e-5  # of a row of float32
ABSENT_TOLERANCE = 1e-3


def check_class_permutation_equivariance(name: str, estimator: Any) -> None:
    """Check that the columns of a mask can be reordered without harm.

    The order of the classes carries no knowledge. An estimator that takes the first
    candidate where it cannot decide, as ``argmax`` does, favours low column numbers.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If after a fit to the reversed columns more than one prediction in twenty is
        another class, or probabilities or beliefs differ by more than a tolerance.
    """
    X, Y, _ = make_data()
    reversed_mask = np.ascontiguousarray(Y[:, ::-1])
    first = fit(name, estimator, X, Y)
    second = fit(name, estimator, X, reversed_mask)
    remedy = "A right estimator has no preference for a column of the mask."

    agreement = accuracy(N_CLASSES - 1 - second.predict(X), first.predict(X))
    require(
        agreement >= PERMUTATION_AGREEMENT,
        f"with the columns of the mask reversed, {name} predicts another class for "
        f"{1 - agreement:.0%} of the rows. {remedy}",
    )
    pairs = {"probabilities": (first.predict_proba(X), second.predict_proba(X))}
    if hasattr(first, "label_distribution_"):
        pairs["beliefs"] = (first.label_distribution_, second.label_distribution_)
    for what, (A, B) in pairs.items():
        difference = np.abs(A - B[:, ::-1]).mean()
        require(
            difference <= PERMUTATION_TOLERANCE,
            f"with the columns of the mask reversed, the {what} of {name} differ by "
            f"{difference:.2g} on average, more than {PERMUTATION_TOLERANCE}. {remedy}",
        )


def check_absent_class(name: str, estimator: Any) -> None:
    """Check that a class that is never a candidate is not predicted.

    A fold of the data may lack a rare class, which the columns of the mask or the
    parameter `classes` still name. A ValueError that names the class is accepted too,
    from methods that have to learn something of each class.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If the fit fails without naming the class, or if the class has no column in
        the probabilities, or a probability of more than 0.001 in some row.
    """
    X, Y, _ = make_data()
    model = seeded(estimator)
    y: Any = np.pad(Y, ((0, 0), (0, 1)))
    absent = str(N_CLASSES)
    if "classes" in model.get_params():
        absent = "yak"
        model.set_params(classes=[*NAMES, absent])
        y = named_sets(Y, NAMES)
    try:
        P = np.asarray(model.fit(X, y).predict_proba(X))
    except ValueError as error:
        require(
            re.search(rf"\b{absent}\b", str(error)),
            f"{name} refuses {absent}, a class that is never a candidate, without "
            f"naming it. A right estimator gives it probability 0, or names it. It "
            f"says: {error}",
        )
        return
    require(
        P.shape == (len(X), N_CLASSES + 1),
        f"{name} has probabilities of shape {P.shape} where there are {len(X)} rows "
        f"and {N_CLASSES + 1} classes. A class that is never a candidate has a column.",
    )
    require(
        P[:, N_CLASSES].max() <= ABSENT_TOLERANCE,
        f"{name} gives up to {P[:, N_CLASSES].max():.2g} to a class that is never a "
        f"candidate. A right estimator gives at most {ABSENT_TOLERANCE}.",
    )


def check_unlabelled_row_changes_little(name: str, estimator: Any) -> None:
    """Check that a row that may be any class is no evidence for one.

    A full set says nothing about the class. Such a row may tell where data lies; it
    must neither be dropped nor be counted for the first class.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If one more row, a copy of another one but unlabelled, moves the probabilities
        or beliefs of the rest by more than a tolerance, gets no beliefs, or is hardly
        believed to have the class of those around it.
    """
    X, Y, truth = make_data()
    # The row to come is the first unlabelled one.
    Y = np.where(Y.all(axis=1, keepdims=True), one_hot(truth), Y)
    last = N_CLASSES - 1
    row = int(np.argmax(truth == last))
    more_X = np.vstack([X, X[row]])
    more_Y = np.vstack([Y, np.ones(N_CLASSES, dtype=bool)])
    first = fit(name, estimator, X, Y)
    second = fit(name, estimator, more_X, more_Y, "a mask with a full row")

    pairs = {"probabilities": (first.predict_proba(X), second.predict_proba(X))}
    if hasattr(first, "label_distribution_"):
        S = second.label_distribution_
        require(
            len(S) == len(more_X),
            f"{name} has beliefs for {len(S)} rows after a fit to {len(more_X)}, one "
            "of them unlabelled. A right estimator removes no row.",
        )
        require(
            S[-1, last] >= LEAST_BELIEF,
            f"{name} believes {S[-1, last]:.2g} in class {last} for an unlabelled row "
            f"amid rows of that class, less than {LEAST_BELIEF:.2g}. A full set is no "
            "evidence against a class.",
        )
        pairs["beliefs"] = (first.label_distribution_, S[:-1])
    for what, (A, B) in pairs.items():
        difference = np.abs(A - B).mean()
        require(
            difference <= UNLABELLED_TOLERANCE,
            f"one more, unlabelled row moves the {what} of {name} by {difference:.2g} "
            f"on average, more than {UNLABELLED_TOLERANCE}. A full set is no evidence "
            "for a class.",
        )


def check_unlabelled_rows_allowed(name: str, estimator: Any) -> None:
    """Check that labels may be missing.

    Half-labelled data is the most common weakly labelled data. None and NaN mean that
    every class is possible, which is the full set.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If labels with None or NaN for a third of the rows are refused, or give other
        probabilities than full sets, or if these rows get no beliefs or are predicted
        badly.
    """
    X, _, truth = make_data()
    # Most rows of the last class: if they count for another, that one outvotes it.
    rows = np.arange(len(X))
    unlabelled = ((truth == 2) & (rows < 24)) | ((truth == 1) & (rows < 15))
    model = fit(
        name,
        estimator,
        X,
        one_hot(truth) | unlabelled[:, None],
        "a mask with full rows",
    )
    expected = model.predict_proba(X)
    with_none = truth.astype(object)
    with_none[unlabelled] = None
    forms = {
        "labels with None": with_none,
        "labels with NaN": np.where(unlabelled, np.nan, truth),
    }
    for what, y in forms.items():
        found = fit(name, estimator, X, y, what).predict_proba(X)
        require_equal(
            found,
            expected,
            f"{name} learns something else from {what} than from full sets in these "
            "rows. A missing label means that every class is possible.",
        )
    right = accuracy(model.predict(X)[unlabelled], truth[unlabelled])
    require(
        right >= GOOD_ACCURACY,
        f"{name} predicts {right:.0%} of the unlabelled rows right, among labelled "
        f"rows of classes far apart. A right estimator reaches {GOOD_ACCURACY:.0%}.",
    )
    if hasattr(model, "label_distribution_"):
        S = np.asarray(model.label_distribution_)
        require(
            S.shape == expected.shape and np.isfinite(S).all(),
            f"{name} has no finite belief in each class for each row, the unlabelled "
            "ones included. A right estimator has.",
        )


def check_beliefs_stay_on_candidates(name: str, estimator: Any) -> None:
    """Check that training beliefs are distributions over the candidates.

    ``label_distribution_`` is how a set was resolved. Where the sets hold the truth,
    belief in another class is an error, however small. An estimator for sets that may
    lack it says so by the class attribute ``candidate_sets_may_lack_truth = True``;
    on clean labels it still has to believe them for the most part. An estimator
    without ``label_distribution_`` passes.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If ``label_distribution_`` has another shape than the mask, is not finite or
        negative, if a row does not sum to 1, or if belief is off the candidates.
    """
    X, Y, truth = make_data()
    may_lack_truth = getattr(estimator, "candidate_sets_may_lack_truth", False)
    if may_lack_truth:
        Y = one_hot(truth)
    model = fit(name, estimator, X, Y)
    if not hasattr(model, "label_distribution_"):
        return
    S = np.asarray(model.label_distribution_)
    require(
        S.shape == Y.shape,
        f"label_distribution_ of {name} has shape {S.shape}, not {Y.shape}. A right "
        "estimator has a belief in each class for each training row.",
    )
    require(
        np.isfinite(S).all() and (S >= 0).all(),
        f"label_distribution_ of {name} has entries that are negative or not finite. "
        "Beliefs are probabilities.",
    )
    off = np.abs(S.sum(axis=1) - 1).max()
    require(
        off <= SUM_TOLERANCE,
        f"a row of label_distribution_ of {name} misses the sum 1 by {off:.2g}. A "
        "right estimator normalises each row.",
    )
    leaked = S[~Y].max()
    require(
        may_lack_truth or leaked == 0,
        f"{name} believes up to {leaked:.2g} in a class that is no candidate. A right "
        "estimator has belief 0 there, or the class attribute "
        "candidate_sets_may_lack_truth = True.",
    )
    kept = S[Y].sum() / len(S)
    require(
        kept > 0.5,
        f"{name} believes only {kept:.2g} in clean labels. Sets may lack the truth, "
        "but a right estimator doubts fewer than half of labels that fit the data.",
    )
