"""What scikit-learn shows of our estimators, and what it hands through to them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklabeldiff import (
    CADClassifier,
    CandidateBinarizer,
    DDMPClassifier,
    DMISClassifier,
    DTMClassifier,
    baselines,
    features,
)
from sklabeldiff.baselines import PLKNNClassifier
from sklabeldiff.calibration import (
    CandidateCalibratedClassifier,
    RejectOptionClassifier,
)
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.features import TorchFeatures
from sklabeldiff.model_selection import CandidateStratifiedKFold
from sklabeldiff.neighbors import ApproximateNeighbors

API = Path(__file__).parents[1] / "docs" / "api.rst"
CLASSIFIERS = [
    DDMPClassifier(max_epochs=2, random_state=0),
    DTMClassifier(max_epochs=2, random_state=0),
    DMISClassifier(max_epochs=2, random_state=0),
    CADClassifier(max_epochs=2, random_state=0),
    *(getattr(baselines, name)() for name in baselines.__all__),
    CandidateCalibratedClassifier(PLKNNClassifier(), cv=2),
    RejectOptionClassifier(PLKNNClassifier(), cv=2),
]
EXTRACTORS = [
    TorchFeatures(torch.nn.Identity()) if name == "TorchFeatures" else kind()
    for name in features.__all__
    for kind in [getattr(features, name)]
]
classifiers = pytest.mark.parametrize(
    "estimator", CLASSIFIERS, ids=lambda e: type(e).__name__
)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, make_candidate_sets(y, rate=0.4, random_state=0), y


class TestShown:
    @pytest.mark.parametrize(
        "estimator",
        [*CLASSIFIERS, *EXTRACTORS, CandidateBinarizer(), ApproximateNeighbors()],
        ids=lambda e: type(e).__name__,
    )
    def test_link_leads_to_a_page_of_the_documentation(self, estimator):
        link = estimator._get_doc_link()
        page = re.fullmatch(r"https://.*/api/generated/(sklabeldiff\..*)\.html", link)
        assert page and page[1] in API.read_text().split()
        assert link in estimator._repr_html_()

    @classifiers
    def test_names_of_the_columns_are_kept_and_checked(self, estimator, iris):
        X, Y, y = iris
        target = y if estimator in CLASSIFIERS[1:2] else Y
        frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
        model = clone(estimator).fit(frame, target)
        assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
        with pytest.raises(ValueError, match="feature names"):
            model.predict(frame[["b", "a", "c", "d"]])


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


class TestScore:
    def test_fold_without_a_label_is_scored(self, iris):
        X, _, y = iris
        few = y.astype(object)
        few[np.arange(150) % 25 > 0] = None
        cv = CandidateStratifiedKFold(10)
        scores = cross_val_score(PLKNNClassifier(), X, few, cv=cv)
        assert np.isfinite(scores).all()

    def test_lists_of_masks_are_scored_as_they_were_learnt(self, iris):
        X, Y, _ = iris
        model = PLKNNClassifier(classes=["a", "b", "c"]).fit(X, Y.tolist())
        assert model.score(X, Y.tolist()) == model.score(X, Y)
        sets = [["a", "b"]] * 150
        assert 0 < model.score(X, sets) < 1


class TestTrueLabels:
    @classifiers
    def test_score_is_the_accuracy_where_they_are_given(self, estimator, iris):
        X, Y, y = iris
        model = clone(estimator).fit(X, Y)
        accuracy = (model.predict(X) == y).mean()
        assert model.score(X, Y, true_labels=y) == accuracy
        assert model.score(X, Y) >= accuracy

    def test_weights_of_rows_count(self, iris):
        X, Y, y = iris
        model = PLKNNClassifier().fit(X, Y)
        weight = np.arange(150.0)
        inside = Y[np.arange(150), model.predict(X)]
        by_hand = np.average(inside, weights=weight)
        assert model.score(X, Y, sample_weight=weight) == pytest.approx(by_hand)
        right = np.average(model.predict(X) == y, weights=weight)
        by_truth = model.score(X, Y, sample_weight=weight, true_labels=y)
        assert by_truth == pytest.approx(right)
        with pytest.raises(ValueError, match="inconsistent numbers"):
            model.score(X, Y, sample_weight=weight[1:])

    @classifiers
    def test_pipeline_scores_where_routing_is_enabled(self, estimator, iris, routing):
        # scikit-learn then hands sample_weight=None to the score of the last step.
        X, Y, _ = iris
        pipeline = make_pipeline(StandardScaler(), estimator).fit(X, Y)
        assert pipeline.score(X, Y) > 1 / 3

    def test_travel_to_the_score_of_a_pipeline(self, iris, routing):
        # cross_validate of a Pipeline, without scoring=, hands them on from some
        # scikit-learn after 1.6; true_accuracy_scorer is given them everywhere.
        X, Y, y = iris
        last = PLKNNClassifier().set_score_request(true_labels=True)
        pipeline = make_pipeline(StandardScaler(), last).fit(X, Y)
        accuracy = (pipeline.predict(X) == y).mean()
        assert pipeline.score(X, Y, true_labels=y) == accuracy

    def test_travel_through_a_search(self, iris, routing):
        X, Y, y = iris
        clf = PLKNNClassifier().set_score_request(true_labels=True)
        search = GridSearchCV(clf, {"n_neighbors": [5]}, cv=3)
        by_truth = search.fit(X, Y, true_labels=y).best_score_
        by_sets = GridSearchCV(clf, {"n_neighbors": [5]}, cv=3).fit(X, Y).best_score_
        assert by_truth < by_sets

    def test_are_not_lost_silently(self, iris, routing):
        X, Y, y = iris
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError):
            cross_validate(PLKNNClassifier(), X, Y, params={"true_labels": y})
