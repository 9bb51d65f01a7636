"""What is compared on few labels, by name.

Rows without a label are marked -1. Settings are defaults, but where a comment says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from benchmarks.frame import Method
from benchmarks.methods import ceilings, seeded
from benchmarks.semi_cells import UNLABELLED
from sklabeldiff import DDMPClassifier, DMISClassifier

N_FOLDS = 3  # of probabilities: of 3 % of the rows a class may have but four
CHEAP = ("baseline", 1.0)  # kind and cost


def semi_methods() -> list[Method]:
    """DMIS, DDMP, scikit-learn's methods for few labels, references and ceilings."""
    return [
        Method("DMIS", seeded(DMISClassifier, missing_label=UNLABELLED), "ours", 15.0),
        Method("DDMP", seeded(DDMPClassifier, missing_label=UNLABELLED), "ours", 6.0),
        Method("LabelSpreading", label_spreading, "baseline", 1.0),
        Method("SelfTraining, LogisticRegression", trained_by_itself(linear), *CHEAP),
        Method("SelfTraining, SVC", trained_by_itself(machine), *CHEAP),
        Method("LogisticRegression, labelled rows", on_labelled(linear), *CHEAP),
        Method("SVC, labelled rows", on_labelled(lambda seed: SVC()), *CHEAP),
        Method("RandomForest, labelled rows", on_labelled(forest), *CHEAP),
        *ceilings(),
    ]


def label_spreading(random_state: int) -> Any:
    # Neighbours: the default, a kernel of fixed width, depends on the number of
    # columns and makes a dense n x n graph.
    spreading = LabelSpreading(kernel="knn", n_neighbors=7)
    return make_pipeline(StandardScaler(), spreading)


def trained_by_itself(make: Callable[[int], Any]) -> Callable[[int], Any]:
    """Scale by all rows; label the others where it is sure, and train again."""
    return lambda seed: make_pipeline(
        StandardScaler(), SelfTrainingClassifier(make(seed))
    )


def on_labelled(make: Callable[[int], Any]) -> Callable[[int], Any]:
    """Scale by the labelled rows and train on them: self-training without a round."""
    return lambda seed: SelfTrainingClassifier(
        make_pipeline(StandardScaler(), make(seed)), max_iter=0
    )


def linear(random_state: int) -> LogisticRegression:
    return LogisticRegression(max_iter=1000)


def machine(random_state: int) -> CalibratedClassifierCV:
    # What scikit-learn has for SVC(probability=True), but with one temperature, which
    # it has from 1.8 on: a sigmoid a class, the default, asks too much of few rows
    # (digits .03: .58 and .70 for two seeds, against .71 and .82).
    return CalibratedClassifierCV(
        SVC(), method="temperature", ensemble=False, cv=N_FOLDS
    )


def forest(random_state: int) -> RandomForestClassifier:
    return RandomForestClassifier(random_state=random_state)
