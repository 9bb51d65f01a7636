"""Reports and pictures of any labels and probabilities: drawn, or refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklabeldiff import plotting
from sklabeldiff.baselines import PLKNNClassifier
from sklabeldiff.model_selection import cross_val_proba
from sklabeldiff.report import label_issues, label_report

from .conftest import CASES, n_cases
from .contract import REFUSED, outcome
from .strategies import (
    CLASSES,
    MISSING,
    ODDITIES,
    masks,
    probabilities,
    tables,
    targets,
)

pytestmark = pytest.mark.filterwarnings("ignore")


def length(y):
    return y.shape[0] if hasattr(y, "shape") and y.shape else len(y)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(function, *args, **kwargs):
    """Draw, and look that there is a figure."""
    display = outcome(function, *args, **kwargs)
    if display is not REFUSED:
        assert display.figure_.axes
    plt.close("all")


@n_cases(20, 1500)
@given(st.data())
def test_pictures(data):
    CASES["function pictures"] += 1
    Y = data.draw(masks(min_rows=1))
    n, C = Y.shape
    y = data.draw(st.one_of(st.just(Y), st.just(Y), targets()))
    P = data.draw(st.one_of(probabilities(n, C), probabilities(n, C), probabilities()))
    labels = data.draw(st.lists(st.integers(0, max(C - 1, 0)), min_size=n, max_size=n))
    classes = data.draw(st.one_of(st.none(), st.just(list(range(C))), CLASSES))
    count = data.draw(st.sampled_from([16, 1, 0, -1, 2.5, None, 10**6]))
    drawn(
        plotting.BeliefDisplay.from_predictions,
        *(y, P),
        classes=classes,
        n_rows=count,
        rows=data.draw(st.sampled_from([None, [0], [99], [], ["a"], [0.5]])),
        true_labels=data.draw(st.sampled_from([None, labels])),
    )
    drawn(
        plotting.CooccurrenceDisplay.from_predictions,
        y,
        classes=classes,
        missing_label=data.draw(MISSING),
        max_classes=count,
    )
    drawn(
        plotting.ReliabilityDisplay.from_predictions,
        *(labels, P),
        classes=classes,
        n_bins=count if count != 10**6 else 10,
        strategy=data.draw(st.sampled_from(["uniform", "quantile", "other"])),
    )
    T = data.draw(st.one_of(probabilities(C, C), st.just(P)))
    drawn(plotting.TransitionMatrixDisplay.from_predictions, T, classes=classes)
    drawn(
        plotting.EmbeddingDisplay.from_predictions,
        data.draw(tables(n)),
        labels,
        data.draw(st.lists(st.floats(), min_size=n, max_size=n)),
        n_suspects=count,
    )


HISTORIES = st.lists(
    st.dictionaries(
        st.sampled_from(["epoch", "loss", "agreement", "stage"]),
        st.one_of(st.integers(0, 5), st.floats(), ODDITIES),
    ),
    max_size=4,
)


@n_cases(10, 600)
@given(HISTORIES)
def test_histories(history):
    CASES["function pictures"] += 1
    drawn(plotting.TrainingCurveDisplay.from_predictions, history)


def some_rows(data):
    """Rows to judge and their sets, some of them in other numbers."""
    y = data.draw(st.one_of(targets(min_rows=6), masks(min_rows=6)))
    n = length(y)
    X = data.draw(st.one_of(tables(n), tables(n), st.integers(0, 9).flatmap(tables)))
    return X, y


@n_cases(20, 1500)
@given(st.data())
def test_judging(data):
    CASES["function issues"] += 1
    X, y = some_rows(data)
    cv = data.draw(st.sampled_from([2, 3, 1, 0, "a", None, [], [([0], [1])], [0, 1]]))
    clf = PLKNNClassifier(missing_label=data.draw(MISSING))
    if cv is None:
        rng = np.random.default_rng(0)
        clf = PLKNNClassifier().fit(rng.random((9, 2)), [0, 1, 2] * 3)
    frame = outcome(label_issues, clf, X, y, cv=cv)
    if frame is not REFUSED:
        assert sorted(frame["row"]) == list(range(length(y)))
        assert frame["score"].between(0, 1 + 1e-6).all()
    found = outcome(cross_val_proba, clf, X, y, cv=cv)
    if found is not REFUSED:
        assert np.isfinite(found).all()


@n_cases(8, 500)
@given(st.data())
def test_reports(tmp_path_factory, data):
    CASES["function reports"] += 1
    X, y = some_rows(data)
    n = length(y)
    path = tmp_path_factory.getbasetemp() / "report.html"
    path.unlink(missing_ok=True)
    words = st.one_of(st.text(max_size=9), ODDITIES)
    found = outcome(
        label_report,
        *(PLKNNClassifier(), X, y),
        cv=2,
        texts=data.draw(st.one_of(st.none(), st.lists(words, min_size=n, max_size=n))),
        class_names=data.draw(
            st.one_of(
                st.none(),
                st.lists(words, max_size=6),
                st.dictionaries(st.one_of(st.text(), st.integers()), words),
            )
        ),
        n_neighbors=data.draw(st.sampled_from([5, 0, 100, -1, 2.5])),
        title=data.draw(words),
        path=path,
    )
    assert path.exists() == (found is not REFUSED)
    if found is not REFUSED:
        path.read_text(encoding="utf-8")
