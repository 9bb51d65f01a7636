"""Checks of how an estimator behaves, whatever it learns."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, ShuffleSplit, cross_val_score
from sklearn.utils.validation import check_is_fitted

from sklabeldiff.utils._check_tools import (
    N_CLASSES,
    fit,
    global_seeds,
    global_states,
    hashed,
    largest_difference,
    make_data,
    must_work,
    named_sets,
    read_only_maps,
    require,
    require_equal,
    seeded,
)

# Matrix products in float32 round by the size of the batch: 1e-6 at a width of 256. A
# statistic of the batch moves probabilities by 0.001 and more.
BATCH_TOLERANCE = 1e-5
SCORE_TOLERANCE = 1e-9  # of a mean of zeros and ones


def check_rows_are_predicted_alone(name: str, estimator: Any) -> None:
    """Check that a row's probabilities do not depend on the rows around it.

    In production rows come one at a time and in other orders than in a test. Noise
    drawn per row and statistics of the batch make predictions a matter of luck.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If ``predict_proba`` of rows in reverse order, in two parts or one at a time
        differs from that of all at once.
    """
    X, Y, _ = make_data()
    model = fit(name, estimator, X, Y)
    expected = model.predict_proba(X)
    found = {
        "in reverse order": model.predict_proba(np.ascontiguousarray(X[::-1]))[::-1],
        "in two parts": _in_parts(model.predict_proba, X, [11]),
        "one at a time": _in_parts(model.predict_proba, X, range(1, len(X))),
    }
    for how, P in found.items():
        difference = largest_difference(P, expected)
        require(
            difference <= BATCH_TOLERANCE,
            f"probabilities of {name} differ by {difference:.2g} where the rows come "
            f"{how}. A right estimator predicts each row as if it were alone.",
        )


def _in_parts(predict: Callable[[Any], Any], X: Any, cuts: Any) -> Any:
    return np.concatenate([predict(part) for part in np.split(X, list(cuts))])


def check_same_seed_same_result(name: str, estimator: Any) -> None:
    """Check that `random_state` is all the randomness there is.

    A global generator belongs to the user. An estimator that draws from it, or seeds
    it, changes what other code does, and its own result depends on what ran before.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If fit or prediction changes the state of the global generator of numpy, or of
        torch where it is imported, or if two equally seeded fits differ.
    """
    X, Y, _ = make_data()
    results = []
    for seed in (1, 2):
        with global_seeds(seed):
            before = global_states()
            model = fit(name, estimator, X, Y)
            results.append(model.predict_proba(X))
            model.predict(X)
            after = global_states()
        touched = [owner for owner, state in before.items() if after[owner] != state]
        require(
            not touched,
            f"{name} draws from or seeds the global generator of "
            f"{' and '.join(touched)}. A right estimator draws from a generator of its "
            "own, made from random_state.",
        )
    require_equal(
        results[0],
        results[1],
        f"two fits of {name} with the same random_state differ. A right estimator "
        "depends on its parameters and data only.",
    )


def check_pickling(name: str, estimator: Any) -> None:
    """Check that a fitted estimator can be stored, and that predicting leaves it be.

    Parallel work, model stores and services all pickle. A prediction that writes into
    the estimator is unsafe in threads.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If the fitted estimator cannot be pickled, if the copy has other probabilities,
        or if prediction changes what would be pickled.
    """
    X, Y, _ = make_data()
    model = fit(name, estimator, X, Y)
    with must_work(name, "pickling after fit"):
        copy = pickle.loads(pickle.dumps(model))
    before = hashed(model)
    expected = model.predict_proba(X)
    model.predict(X)
    require(
        hashed(model) == before,
        f"prediction changes the state of {name}. A right estimator changes in fit "
        "only; what is cached for prediction is left out of __getstate__.",
    )
    require_equal(
        copy.predict_proba(X),
        expected,
        f"{name} predicts otherwise when it comes out of a pickle. A right estimator "
        "stores all that it needs to predict.",
    )


def check_clone_fits_alike(name: str, estimator: Any) -> None:
    """Check that a clone is unfitted and equal, and that fit keeps its hands off.

    Searches and cross-validation work on clones, and in parallel on data that are
    mapped into memory and cannot be written.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If fit changes a parameter, X or y; if a clone of the fitted estimator is
        fitted, has other parameters, or gives other probabilities; if read-only,
        memory-mapped arrays are refused.
    """
    X, Y, _ = make_data()
    rows = X.copy()  # predicted later: the very array of the fit may round otherwise
    model = seeded(estimator)
    params = _hashed_params(model)
    _fit_in_place(name, model, X, Y)
    with must_work(name, "sklearn.base.clone after fit"):
        copy = clone(model)
    require(
        not _is_fitted(copy),
        f"a clone of a fitted {name} is fitted. A right estimator learns in fit only.",
    )
    changed = _differing(params, _hashed_params(copy))
    require(
        not changed,
        f"a clone of {name} has another parameter {', '.join(changed)}. A right "
        "constructor stores its arguments as they are.",
    )
    with (
        read_only_maps(X, Y) as (mapped_X, mapped_Y),
        must_work(name, "arrays that are memory-mapped and read-only"),
    ):
        found = copy.fit(mapped_X, mapped_Y).predict_proba(rows)
    require_equal(
        found,
        model.predict_proba(rows),
        f"a clone of {name}, fitted to the same data mapped into memory, predicts "
        "otherwise. Equal parameters and data must give equal models.",
    )


def _fit_in_place(name: str, model: Any, X: Any, Y: Any) -> None:
    """Fit, and demand that neither parameters nor data are changed."""
    data, params = hashed((X, Y)), _hashed_params(model)
    with must_work(name, "a bool mask"):
        model.fit(X, Y)
    changed = _differing(params, _hashed_params(model))
    require(
        not changed,
        f"fit of {name} changes the parameter {', '.join(changed)}. A right estimator "
        "stores what it finds in attributes that end in an underscore.",
    )
    require(
        hashed((X, Y)) == data,
        f"fit of {name} changes X or y in place. A right estimator works on copies.",
    )


def _hashed_params(estimator: Any) -> dict[str, str]:
    params = estimator.get_params(deep=False)
    return {key: hashed(value) for key, value in params.items()}


def _differing(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """Names under which two equally keyed dicts differ."""
    return [key for key, value in first.items() if second[key] != value]


def _is_fitted(estimator: Any) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def check_score_is_covering_rate(name: str, estimator: Any) -> None:
    """Check that `score` understands candidate sets.

    Searches and cross-validation rank by ``score``. Where no true label is known, the
    share of predictions inside the sets is what can be measured; where each row has
    one label, it is the accuracy.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If ``score`` of a mask is not the share of predictions inside the sets, or that
        of labels is not the accuracy.
    """
    X, Y, truth = make_data()
    model = fit(name, estimator, X, Y)
    rows, predicted = np.arange(len(X)), model.predict(X)
    # Other sets and labels than were learnt: of a score of 1 many things are true.
    mask = np.roll(Y, 1, axis=1)
    labels = np.where(rows % 3 == rows % 4, (truth + 1) % N_CLASSES, truth)
    wanted = {
        "a mask": (mask, mask[rows, predicted].mean(), "share inside the sets"),
        "labels": (labels, (predicted == labels).mean(), "accuracy"),
    }
    for what, (y, expected, meaning) in wanted.items():
        with must_work(name, f"score with {what}"):
            found = model.score(X, y)
        require(
            abs(found - expected) <= SCORE_TOLERANCE,
            f"score of {name} with {what} is {found:.4g}, but the {meaning} is "
            f"{expected:.4g}. A right estimator returns the latter.",
        )


def check_cross_validation(name: str, estimator: Any) -> None:
    """Check that scikit-learn's model selection works on candidate sets.

    Folds cut y and score by the estimator's own ``score``; no true label is needed.
    Masks and object arrays of frozensets pass scikit-learn's splitters.

    Parameters
    ----------
    name : str
        Name of the estimator in messages.
    estimator : classifier
        An estimator, which is cloned.

    Raises
    ------
    AssertionError
        If ``cross_val_score`` or ``GridSearchCV`` fails, or if predictions for rows
        held out are covered no more often than by chance.
    """
    X, Y, _ = make_data()
    sets = np.empty(len(X), dtype=object)
    sets[:] = named_sets(Y, range(N_CLASSES))
    model = seeded(estimator)
    chance = Y.mean()  # a guess falls into this share of the sets
    cv = ShuffleSplit(1, test_size=0.5, random_state=0)  # one split shows it
    scores = {}
    for form, y in {"a mask": Y, "an array of frozensets": sets}.items():
        what = f"cross_val_score with {form}"
        with must_work(name, what):
            found = cross_val_score(model, X, y, cv=cv, error_score="raise")
        scores[what] = found.min()
    with must_work(name, "GridSearchCV with a mask"):
        search = GridSearchCV(model, {}, cv=cv, error_score="raise", refit=False)
        scores["GridSearchCV with a mask"] = search.fit(X, Y).best_score_
    for what, score in scores.items():
        require(
            score > chance,
            f"{what} gives {name} {score:.4g}, no better than a guess, {chance:.4g}. "
            "A right estimator scores the rows held out by the share inside the sets.",
        )
