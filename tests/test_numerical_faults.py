"""Numbers that break in a fit: an error or a warning, never silence."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from sklabeldiff import CADClassifier, DDMPClassifier, DTMClassifier
from sklabeldiff.baselines import CCClassifier, PLKNNClassifier, VolMinNetClassifier
from sklabeldiff.core.training import DivergedError
from sklabeldiff.features import SimCLRFeatures

X, TRUE = load_iris(return_X_y=True)
X, TRUE = X[::5].astype(np.float32), TRUE[::5]


# Such rates leave weights that are no numbers, or give none: the loss of the one epoch,
# from before its only update, does not show it.
@pytest.mark.parametrize("rate", [1e18, 1e12])
@pytest.mark.parametrize("cls", [DDMPClassifier, CADClassifier, CCClassifier])
def test_the_last_update_may_break_a_network_too(cls, rate):
    clf = cls(max_epochs=1, learning_rate=rate, random_state=0)
    clf.set_params(**{"warmup_epochs": 0} if cls is CADClassifier else {})
    try:
        clf.fit(X, TRUE)
    except DivergedError as error:
        assert "learning_rate" in str(error)
        assert not hasattr(clf, "classes_")
    else:
        assert np.isfinite(clf.predict_proba(X)).all()


def test_broken_weights_are_noticed_at_the_end_of_fit():
    with pytest.raises(DivergedError, match="Lower learning_rate"):
        CCClassifier(max_epochs=1, learning_rate=1e18, random_state=0).fit(X, TRUE)


@pytest.mark.parametrize("cls", [PLKNNClassifier, CCClassifier, DDMPClassifier])
def test_one_class_for_all_rows_is_not_silent(cls):
    same, y = np.ones((30, 2)), np.arange(30) % 3
    clf = cls(**{} if cls is PLKNNClassifier else {"max_epochs": 1, "random_state": 0})
    with pytest.warns(
        ConvergenceWarning, match="Every one of 30 training rows"
    ) as told:
        clf.fit(same, y)
    assert told[0].filename == __file__
    assert len(set(clf.predict(same))) == 1


def test_one_class_that_most_rows_may_have_is_no_fault():
    y = np.where(np.arange(30) % 3, "a", "b")
    clf = PLKNNClassifier().fit(np.ones((30, 2)), y)
    assert set(clf.predict(np.ones((3, 2)))) == {"a"}


def test_an_encoder_that_diverged_is_noticed_by_its_fit():
    images = np.random.default_rng(0).random((6, 8, 8))
    encoder = SimCLRFeatures(image_size=8, max_epochs=1, learning_rate=1e12)
    with pytest.raises(DivergedError, match="Lower learning_rate"):
        encoder.fit(images)


def test_probabilities_that_are_no_numbers_are_refused(monkeypatch):
    clf = PLKNNClassifier().fit(X, TRUE)
    P = clf.predict_proba(X)
    P[7, 1] = np.nan
    monkeypatch.setattr(clf, "_predict_proba", lambda rows: P)
    with pytest.raises(ValueError, match="Row 7 of X gets no probabilities"):
        clf.predict(X)


@pytest.mark.parametrize("penalty", [1e-4, 100.0])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("cls", [VolMinNetClassifier, DTMClassifier])
def test_labels_that_say_nothing_make_no_number_infinite(cls, n_classes, penalty):
    """Their matrix has equal rows; a large penalty takes its determinant to 0."""
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(120, 3)), generator.integers(n_classes, size=120)
    clf = cls(volume_penalty=penalty, max_epochs=20, learning_rate=0.3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # most labels seem wrong, or one class for all
        P = clf.fit(X, y).predict_proba(X)
    np.testing.assert_allclose(P.sum(axis=1), 1, atol=1e-5)
    T = clf.transition_matrix_
    np.testing.assert_allclose(T.sum(axis=1), 1, atol=1e-5)
    if cls is VolMinNetClassifier and penalty > 1:
        assert abs(np.linalg.det(T)) < 1e-3


@pytest.mark.parametrize("cls", [DDMPClassifier, PLKNNClassifier, CADClassifier])
def test_rows_left_as_they_are_must_have_squares(cls):
    """Scaled, the same rows are fine."""
    far = X * np.float32(1e20)
    clf = cls(standardize=None)
    with pytest.raises(ValueError, match=r"in row \d+, column \d, .*beyond 1e\+15"):
        clf.fit(far, TRUE)
    params = {"max_epochs": 20, "random_state": 0} if "max_epochs" in vars(clf) else {}
    found = cls(**params).fit(far, TRUE).predict_proba(far)
    assert np.isfinite(found).all()
    assert (found.argmax(1) == TRUE).mean() > 0.5
