"""The benchmark of many classes: its rows, and what its report says."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from benchmarks import class_scaling


def figures(n: int, n_classes: int, megabytes: float) -> dict[str, float]:
    return {
        **{"listed": 1.0, "fit": 10.0, "memory": 1e6 * megabytes, "predict": 50.0},
        **{"predict memory": 1e6, "candidates": 3.0 * n, "table": 4.0 * n * n_classes},
        **{"resolved": 0.9, "accuracy": 0.8},
    }


def found(whole: float, half: float, difference: float) -> dict[str, dict[str, float]]:
    compared = {"first beliefs": difference, "beliefs": 1e-4, "probabilities": 1e-3}
    return {
        "50000 x 100": figures(50_000, 100, 100),
        "50000 x 10000": figures(50_000, 10_000, whole),
        "25000 x 10000": figures(25_000, 10_000, half),
        "compared": compared | {"same": 1.0, "table fit": 5.0, "lists fit": 6.0},
    }


@pytest.mark.parametrize("n_classes", [4, 50])
def test_each_set_has_its_class_and_two_others(n_classes: int) -> None:
    X, Y, y = class_scaling.make_rows(300, n_classes)
    assert X.shape == (300, class_scaling.D)
    assert X.dtype == np.float32
    assert (np.diff(Y.indptr) == class_scaling.N_CANDIDATES).all()
    assert np.asarray(Y[np.arange(300), y]).all()
    assert (np.asarray(Y.sum(axis=0)) > 0).all()


@pytest.mark.parametrize(
    "whole, half, difference, missed",
    [(500, 450, 1e-7, 0), (500, 350, 1e-7, 1), (2100, 2050, 1e-7, 1), (500, 450, 1, 1)],
)
def test_report_names_the_goals_that_are_missed(
    whole: float, half: float, difference: float, missed: int
) -> None:
    text = class_scaling.table(found(whole, half, difference), "command")
    assert text.count("**missed**") == missed
    assert f"| 10000 | 50000 | lists | 10 | {whole} | 50 | 1 | 150000 | 2000 |" in text


def test_forms_are_compared_in_a_process_of_its_own() -> None:
    both = class_scaling.child("compare", 300, 40)
    assert both["first beliefs"] < class_scaling.MAX_DIFFERENCE
    assert both["same"] > 0.9


def test_curves_are_drawn(tmp_path: Path) -> None:
    class_scaling.plot(found(500, 450, 1e-7), tmp_path / "classes.png")
    height, width, _ = imread(tmp_path / "classes.png").shape
    assert height > 200 and width > 600
