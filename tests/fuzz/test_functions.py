"""Targets, converters, metrics and splitters: any input gets an answer or an error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklabeldiff import metrics
from sklabeldiff.datasets import make_candidate_sets, make_noisy_labels
from sklabeldiff.model_selection import (
    CandidateStratifiedGroupKFold,
    CandidateStratifiedKFold,
    CandidateStratifiedShuffleSplit,
    candidate_train_test_split,
)
from sklabeldiff.targets import (
    CandidateBinarizer,
    candidates_from_votes,
    encode_candidates,
    vote_labels,
)

from .conftest import CASES, n_cases
from .contract import REFUSED, outcome
from .strategies import (
    CLASSES,
    MAX_ROWS,
    MISSING,
    ODDITIES,
    masks,
    probabilities,
    tables,
    targets,
)

# What is drawn warns, too; `outcome` sees to what matters.
pytestmark = pytest.mark.filterwarnings("ignore")


def check_indicator(Y, classes):
    assert Y.ndim == 2
    assert Y.shape[1] == len(classes)
    assert Y.dtype in (np.dtype(bool), np.dtype(np.float32))
    assert np.isfinite(Y).all()
    assert (Y >= 0).all()
    assert (Y > 0).any(axis=1).all()


def check_share(value):
    assert isinstance(value, float)
    assert 0 <= value <= 1


@n_cases(300, 30_000)
@given(targets(), CLASSES, MISSING)
def test_encode_candidates(y, classes, missing):
    CASES["function encode_candidates"] += 1
    found = outcome(encode_candidates, y, classes, missing_label=missing)
    if found is REFUSED:
        return
    Y, labels = found
    check_indicator(Y, labels)
    # The classes of a first reading lead to the same sets in a second one.
    binarizer = CandidateBinarizer(classes, missing).fit(y)
    np.testing.assert_array_equal(binarizer.transform(y), Y)
    back = binarizer.inverse_transform(Y)
    assert len(back) == len(Y)
    again, _ = encode_candidates(list(back), labels) if len(back) else (Y > 0, labels)
    np.testing.assert_array_equal(again, Y > 0)


@n_cases(150, 12_000)
@given(st.data())
def test_votes(data):
    CASES["function votes"] += 1
    votes = data.draw(targets())
    if data.draw(st.booleans()):
        n = data.draw(st.integers(0, 12))
        votes = {
            "task": data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)),
            "label": data.draw(
                st.lists(
                    st.one_of(st.sampled_from("abc"), ODDITIES), min_size=n, max_size=n
                )
            ),
        }
    options = {
        "counts": data.draw(st.booleans()),
        "classes": data.draw(CLASSES),
        "missing_label": data.draw(MISSING),
    }
    found = outcome(
        candidates_from_votes,
        votes,
        min_votes=data.draw(st.sampled_from([1, 2, 0.5, 0, -1, 1.5, np.nan, "1"])),
        soft=data.draw(st.booleans()),
        **options,
    )
    if found is not REFUSED:
        check_indicator(*found)
    labels = outcome(vote_labels, votes, random_state=0, **options)
    if labels is not REFUSED:
        assert labels.ndim == 1


@n_cases(150, 12_000)
@given(st.data())
def test_metrics_of_sets(data):
    CASES["function metrics of sets"] += 1
    y = data.draw(targets())
    n = len(y) if hasattr(y, "__len__") and not hasattr(y, "tocsr") else y.shape[0]
    classes, missing = data.draw(CLASSES), data.draw(MISSING)
    P = data.draw(st.one_of(probabilities(n), probabilities()))
    options = {"classes": classes, "missing_label": missing}
    value = outcome(metrics.approximated_accuracy, y, P, **options)
    assert value is REFUSED or np.isfinite(value)
    value = outcome(metrics.candidate_log_likelihood, y, P, **options)
    assert value is REFUSED or value <= 1e-6
    pool = data.draw(
        st.sampled_from([[0, 1], ["cat", "dog"], [np.nan, None], [7, 3.5]])
    )
    y_pred = data.draw(st.lists(st.sampled_from(pool), min_size=n, max_size=n))
    weight = data.draw(
        st.one_of(
            st.none(),
            st.lists(st.sampled_from([0, 1, 2.5, -1, np.nan]), min_size=n, max_size=n),
        )
    )
    value = outcome(metrics.covering_rate, y, y_pred, sample_weight=weight, **options)
    if value is not REFUSED:
        check_share(value)


@n_cases(200, 16_000)
@given(st.data())
def test_metrics_of_labels(data):
    CASES["function metrics of labels"] += 1
    P = data.draw(probabilities())
    n, C = P.shape
    labels = data.draw(st.sampled_from([range(C), "abcdef"[:C], [1.5, *range(C)]]))
    y = data.draw(st.lists(st.sampled_from(list(labels)), min_size=n, max_size=n))
    if n and data.draw(st.integers(0, 4)) == 0:
        y[0] = data.draw(ODDITIES)
    classes = data.draw(st.one_of(st.none(), st.just(list(labels)), CLASSES))
    value = outcome(metrics.brier_score, y, P, classes=classes)
    assert value is REFUSED or 0 <= value <= 2 + 1e-3
    value = outcome(
        metrics.expected_calibration_error,
        y,
        P,
        n_bins=data.draw(st.sampled_from([15, 1, 0, -3, 2.5, "a", 10**4])),
        strategy=data.draw(st.sampled_from(["uniform", "quantile", "other"])),
        classes=classes,
    )
    assert value is REFUSED or -1e-6 <= value <= 1 + 1e-3
    value = outcome(
        metrics.top_k_accuracy,
        y,
        P,
        k=data.draw(st.sampled_from([1, 2, 0, 100, 1.5, None])),
        classes=classes,
    )
    if value is not REFUSED:
        check_share(value)
    Y = data.draw(st.one_of(st.none(), targets()))
    value = outcome(metrics.disambiguation_accuracy, y, P, Y, classes=classes)
    if value is not REFUSED:
        check_share(value)
    score = data.draw(st.lists(st.floats(), min_size=n, max_size=n))
    value = outcome(
        metrics.label_issues_average_precision, Y, y, score, classes=classes
    )
    if value is not REFUSED:
        check_share(value)


@n_cases(60, 6000)
@given(st.data())
def test_metrics_of_samples(data):
    CASES["function metrics of samples"] += 1
    X = data.draw(st.integers(0, 20).flatmap(tables))
    other = data.draw(st.integers(0, 20).flatmap(tables))
    value = outcome(metrics.frechet_distance, X, other)
    assert value is REFUSED or (np.isfinite(value) and value > -1e-3)
    k = data.draw(st.sampled_from([3, 1, 0, 50, 2.5]))
    value = outcome(metrics.density_coverage, X, other, n_neighbors=k)
    if value is not REFUSED:
        assert np.isfinite(value.density)
        check_share(float(value.coverage))


@n_cases(60, 6000)
@given(st.data())
def test_entangled(data):
    CASES["function entangled"] += 1
    n = data.draw(st.integers(0, MAX_ROWS))
    F = data.draw(st.one_of(tables(n), st.integers(0, 9).flatmap(tables)))
    y = data.draw(targets())
    labels = data.draw(st.lists(st.integers(0, 5), min_size=n, max_size=n))
    fraction = data.draw(st.sampled_from([0.001, 0.5, 1.0, 0.0, -1, 2, np.nan, "a"]))
    rows = outcome(metrics.entangled_subset, F, y, labels, fraction=fraction)
    assert rows is REFUSED or set(rows) <= set(range(n))
    value = outcome(
        metrics.entangled_accuracy, labels, labels[::-1], F, y, fraction=fraction
    )
    if value is not REFUSED:
        check_share(value)


@n_cases(100, 12_000)
@given(st.data())
def test_splitters(data):
    CASES["function splitters"] += 1
    y = data.draw(targets(min_rows=data.draw(st.sampled_from([0, 4, 8]))))
    n = len(y) if hasattr(y, "__len__") and not hasattr(y, "tocsr") else y.shape[0]
    n_splits = data.draw(st.sampled_from([2, 3, 5, 1, 0, -1, 2.5, 100]))
    X = np.zeros((n, 1))
    groups = data.draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    size = data.draw(st.sampled_from([None, 0.25, 2, 0.0, 1.0, -1, 1.5, 100, np.nan]))
    splitters = [
        lambda: CandidateStratifiedKFold(n_splits, shuffle=True, random_state=0),
        lambda: CandidateStratifiedGroupKFold(n_splits, shuffle=True, random_state=0),
        lambda: CandidateStratifiedShuffleSplit(2, test_size=size, random_state=0),
    ]
    for make in splitters:
        splits = outcome(lambda make=make: list(make().split(X, y, groups)))
        if splits is REFUSED:
            continue
        for train, test in splits:
            assert len(train)
            assert len(test)
            assert not set(train) & set(test)
            assert set(train) | set(test) <= set(range(n))
    found = outcome(candidate_train_test_split, X, y, test_size=size, random_state=0)
    if found is not REFUSED:
        assert len(found[0]) + len(found[1]) <= n


@n_cases(100, 12_000)
@given(st.data())
def test_generators(data):
    CASES["function generators"] += 1
    n = data.draw(st.integers(0, 20))
    pool = data.draw(st.sampled_from([[0, 1, 2], ["a", "b"], [5], [1.5, 2.0], [-1, 0]]))
    y = data.draw(st.lists(st.sampled_from(pool), min_size=n, max_size=n))
    if n and data.draw(st.integers(0, 4)) == 0:
        y[0] = data.draw(ODDITIES)
    rate = data.draw(st.sampled_from([0.3, 0.0, 1.0, 0.9, -0.1, 2, np.nan, "a", None]))
    X = data.draw(st.one_of(st.none(), tables(n)))
    sets = outcome(
        make_candidate_sets,
        y,
        kind=data.draw(st.sampled_from(["uniform", "pair", "instance", "other"])),
        rate=rate,
        X=X,
        ensure_partial=data.draw(st.booleans()),
        random_state=0,
    )
    if sets is not REFUSED:
        _, codes = np.unique(np.asarray(y), return_inverse=True)
        assert sets[np.arange(n), codes].all()
    noisy = outcome(
        make_noisy_labels,
        X,
        y,
        kind=data.draw(st.sampled_from(["symmetric", "pair", "parts", "pmd", "other"])),
        rate=rate,
        random_state=0,
    )
    if noisy is not REFUSED:
        assert len(noisy) == n
        assert set(np.asarray(noisy).tolist()) <= set(np.asarray(y).tolist())


@n_cases(60, 4000)
@given(masks(min_rows=1), st.data())
def test_equal_sets_in_other_forms_are_equal(mask, data):
    """Forms that mean the same sets give the same indicator."""
    CASES["function forms"] += 1
    if not mask.any(axis=1).all() or mask.all() or not mask.any(axis=0).all():
        return
    if mask.shape[1] < 2:
        return
    sets = [frozenset(np.flatnonzero(row).tolist()) for row in mask]
    forms = [mask, mask.astype(float), mask.T.copy().T, sets, [set(s) for s in sets]]
    first, *others = (encode_candidates(form) for form in forms)
    for other in others:
        np.testing.assert_array_equal(other[0], first[0])
        np.testing.assert_array_equal(other[1], first[1])
