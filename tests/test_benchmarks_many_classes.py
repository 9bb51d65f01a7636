"""The benchmark of many classes: its rows, one fit, and what its report says."""

import numpy as np
import pytest

from benchmarks import many_classes
from sklabeldiff import DMISClassifier
from sklabeldiff.baselines import CCClassifier


def result(accuracy: float, megabytes: float = 500) -> dict[str, float]:
    return {
        **{"rows": 4000, "fit": 3.0, "cpu": 2.0, "predict": 0.1},
        **{"memory": megabytes * 1e6, "accuracy": accuracy},
    }


def test_problem_gives_every_class_and_holds_the_truth() -> None:
    problem = many_classes.make_problem(30, 0, 600)
    assert problem.X.shape == (600, many_classes.D)
    assert len(np.unique(problem.labels)) == 30
    assert problem.sets[np.arange(30), np.arange(30)].all()
    wrong = (problem.labels[:, None] == np.arange(30)) & ~problem.sets
    assert 0.15 < wrong.any(1).mean() < 0.35


@pytest.mark.parametrize("method", ["CE", "DMIS, all classes"])
def test_a_fit_is_measured(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, given, plain = many_classes.METHODS[method]
    small = CCClassifier(8, max_epochs=1)
    if method != "CE":
        small = DMISClassifier(hidden=8, max_epochs=1)
    monkeypatch.setitem(many_classes.METHODS, method, (small, given, plain))
    found = many_classes.fit_once(method, 12, 0, 240)
    assert found["rows"] == 240
    assert found["memory"] > 1e8
    assert 0 <= found["accuracy"] <= 1
    assert getattr(small, "top_k", 12) == 12


def test_a_fit_runs_in_a_process_of_its_own() -> None:
    assert many_classes.child("CE", 5, 0, 200)["rows"] == 200


@pytest.mark.parametrize(
    ("dtm", "megabytes", "missed"), [(0.8, 500, 0), (0.6, 500, 1), (0.8, 5000, 1)]
)
def test_report_names_the_goals_that_are_missed(
    dtm: float, megabytes: float, missed: int
) -> None:
    found = {
        ("CE", 100): [result(0.7), result(0.72)],
        ("DTM", 100): [result(dtm, megabytes)],
    }
    text = many_classes.table(found, "python -m benchmarks many-classes", (0, 1))
    assert text.count("**missed**") == missed
    assert "| 100 | CE | 4000 | 3 | 2 | 0.1 | 500 | 0.710 ± 0.010 |" in text
