"""Conformal sets by MAPIE, around classifiers that were trained on candidate sets."""

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklabeldiff import DDMPClassifier
from sklabeldiff.baselines import PLKNNClassifier
from sklabeldiff.calibration import CandidateCalibratedClassifier
from sklabeldiff.datasets import make_candidate_sets


@pytest.fixture(scope="module")
def digits():
    """Rows with candidate sets, clean rows to calibrate, clean rows to test."""
    X, y = load_digits(return_X_y=True)
    X, X_clean, y, y_clean = train_test_split(X, y, test_size=0.5, random_state=0)
    sets = make_candidate_sets(y, kind="uniform", rate=0.5, random_state=0)
    calib = train_test_split(X_clean, y_clean, test_size=0.5, random_state=0)
    return X[:600], sets[:600], *calib


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize(
    "classifier",
    [
        DDMPClassifier(random_state=0),
        CandidateCalibratedClassifier(PLKNNClassifier()),
    ],
    ids=lambda c: type(c).__name__,
)
def test_sets_hold_the_truth_as_often_as_asked(classifier, level, digits):
    X, sets, X_calib, X_test, y_calib, y_test = digits
    conformal = SplitConformalClassifier(
        classifier.fit(X, sets), confidence_level=level, prefit=True
    )
    conformal.conformalize(X_calib, y_calib)
    answers, lists = conformal.predict_set(X_test)
    np.testing.assert_array_equal(answers, classifier.predict(X_test))
    coverage = lists[np.arange(len(y_test)), y_test, 0].mean()
    # Chance of the test rows and of the 450 that calibrate: three standard errors.
    assert coverage == pytest.approx(
        level, abs=3 * (2 * level * (1 - level) / 450) ** 0.5
    )
    assert lists.sum(axis=1).mean() < 2
