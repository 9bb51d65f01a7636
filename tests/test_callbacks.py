"""What scikit-learn's callbacks hear of a fit, and what they can do to it."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from sklabeldiff import (
    CADClassifier,
    DDMPClassifier,
    DMISClassifier,
    DTMClassifier,
    _callbacks,
)
from sklabeldiff.baselines import (
    CandidateWeightedClassifier,
    CCClassifier,
    KernelPropagationClassifier,
    PLKNNClassifier,
    PRODENClassifier,
    VolMinNetClassifier,
)
from sklabeldiff.calibration import CandidateCalibratedClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.metrics import covering_rate_scorer

# What learns in epochs, with the name of the task whose epochs show the model.
LEARNERS = [
    (DDMPClassifier(max_epochs=30, random_state=0), "fit"),
    (DTMClassifier(max_epochs=20, random_state=0), "classifier"),
    (DMISClassifier(max_epochs=30, random_state=0), "fit"),
    (CADClassifier(max_epochs=20, random_state=0), "fit"),
    (PRODENClassifier(max_epochs=20, random_state=0), "fit"),
    (CCClassifier(max_epochs=20, random_state=0), "fit"),
    (VolMinNetClassifier(max_epochs=20, random_state=0), "fit"),
]
OTHERS = [
    PLKNNClassifier(),
    KernelPropagationClassifier(random_state=0),
    CandidateWeightedClassifier(),
]


def name_of(value):
    return type(value).__name__


learners = pytest.mark.parametrize(("estimator", "task"), LEARNERS, ids=name_of)


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True)
    return X, make_candidate_sets(y, rate=0.3, random_state=0)


class Listener:
    """Notes what it hears; ends every level of epochs after ``last`` of them."""

    max_propagation_depth = None  # goes down from a search to what is searched

    def __init__(self, last=None, ask=False):
        self.last, self.heard = last, []
        if ask:
            self.on_fit_task_end = self._end_with_model
            self.models = []

    def setup(self, estimator, context):
        self.heard.append("setup")

    def teardown(self, estimator, context):
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.heard.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(self, estimator, context):
        self.heard.append(("end", context.task_name, context.task_id))
        return context.task_name == "epoch" and context.task_id + 1 == self.last

    def _end_with_model(self, estimator, context, *, fitted_estimator=None):
        if fitted_estimator is not None:
            self.models.append((context.parent, context.task_name, fitted_estimator))
        return Listener.on_fit_task_end(self, estimator, context)


def ends(heard, name):
    return [note for note in heard if note[:2] == ("end", name)]


@pytest.mark.skipif(not _callbacks.HAVE_CALLBACKS, reason="scikit-learn before 1.9")
class TestCallbacks:
    @learners
    def test_listening_changes_nothing(self, estimator, task, iris):
        X, Y = iris
        quiet = clone(estimator).fit(X, Y).predict_proba(X)
        listened = clone(estimator).set_callbacks(Listener()).fit(X, Y)
        np.testing.assert_array_equal(listened.predict_proba(X), quiet)

    @learners
    def test_every_epoch_is_told(self, estimator, task, iris):
        listener = Listener()
        model = clone(estimator).set_callbacks(listener).fit(*iris)
        heard = listener.heard
        assert heard[:2] == ["setup", ("begin", "fit", 0)]
        assert heard[-2:] == [("end", "fit", 0), "teardown"]
        begin = len(heard) - 1 - heard[::-1].index(("begin", "epoch", 0))
        epochs = ends(heard[begin:], "epoch")
        assert epochs == [("end", "epoch", k) for k in range(model.n_iter_)]

    @learners
    def test_callback_ends_the_training(self, estimator, task, iris):
        listener = Listener(last=3)
        model = clone(estimator).set_callbacks(listener).fit(*iris)
        assert model.n_iter_ == 3
        assert listener.heard[-1] == "teardown"
        assert model.predict_proba(iris[0]).shape == (150, 3)
        again = model.set_callbacks().fit(*iris)
        assert again.n_iter_ > 3

    def test_each_training_of_dtm_ends_by_itself(self, iris):
        listener = Listener(last=2)
        LEARNERS[1][0].set_callbacks(listener).fit(*iris)
        stages = [n[1] for n in listener.heard if n[0] == "end" and n[1] != "epoch"]
        names = ["first network", "group matrices", "generator", "classifier", "fit"]
        assert stages == names
        LEARNERS[1][0].set_callbacks()

    @learners
    def test_model_on_the_way_predicts(self, estimator, task, iris):
        X, Y = iris
        listener = Listener(ask=True)
        model = clone(estimator).set_callbacks(listener).fit(X, Y)
        *epochs, (_, name, last) = listener.models
        assert name == "fit"
        final = model.predict_proba(X)
        np.testing.assert_array_equal(last.predict_proba(X), final)
        assert len(epochs) == model.n_iter_
        assert {parent.task_name for parent, _, _ in epochs} == {task}
        first = epochs[0][2].predict_proba(X)
        assert (first != final).any()

    @pytest.mark.parametrize("index", [0, 2, 3])
    def test_model_of_the_last_epoch_is_the_final_one(self, index, iris):
        X, Y = iris
        listener = Listener(ask=True)
        model = clone(LEARNERS[index][0]).set_callbacks(listener).fit(X, Y)
        np.testing.assert_array_equal(
            listener.models[-2][2].predict_proba(X), model.predict_proba(X)
        )

    def test_score_monitor_follows_the_covering_rate(self, iris):
        from sklearn.callback import ScoringMonitor

        monitor = ScoringMonitor(scoring={"covering": covering_rate_scorer})
        model = PRODENClassifier(max_epochs=20, random_state=0)
        model.set_callbacks(monitor).fit(*iris)
        rows = [r for r in monitor.get_logs().data if r["task_name"] == "epoch"]
        scores = [row["covering"] for row in rows]
        assert len(scores) == 20
        assert scores[-1] == model.score(*iris)
        assert scores[0] < scores[-1]

    @pytest.mark.parametrize("estimator", OTHERS, ids=name_of)
    def test_fit_without_epochs_is_one_task(self, estimator, iris):
        listener = Listener()
        clone(estimator).set_callbacks(listener).fit(*iris)
        task = [("begin", "fit", 0), ("end", "fit", 0)]
        assert listener.heard == ["setup", *task, "teardown"]

    def test_search_hears_of_the_epochs_within(self, iris):
        listener = Listener()
        pipeline = make_pipeline(
            StandardScaler(), PRODENClassifier(max_epochs=4, random_state=0)
        )
        search = GridSearchCV(pipeline, {"prodenclassifier__hidden": [4, 8]}, cv=2)
        search.set_callbacks(listener).fit(*iris)
        # Two candidates in two folds, and the refit; set up once.
        assert len(ends(listener.heard, "epoch")) == 5 * 4
        assert listener.heard.count("setup") == 1

    def test_wrapper_hands_them_to_the_model_that_predicts(self, iris):
        listener = Listener()
        inner = PRODENClassifier(max_epochs=4, random_state=0)
        model = CandidateCalibratedClassifier(inner, cv=2).set_callbacks(listener)
        model.fit(*iris)
        assert len(ends(listener.heard, "epoch")) == 4
        assert listener.heard[-2:] == [("end", "fit", 0), "teardown"]

    def test_progress_bar_shows_the_fit_under_the_search(self, iris, capsys):
        from sklearn.callback import ProgressBar

        search = GridSearchCV(
            PRODENClassifier(max_epochs=4, random_state=0), {"hidden": [4]}, cv=2
        )
        search.set_callbacks(ProgressBar()).fit(*iris)
        shown = capsys.readouterr().out
        assert "GridSearchCV" in shown
        assert "PRODENClassifier" in shown
        assert "100%" in shown

    def test_error_ends_the_callbacks_and_spares_the_estimator(self, iris):
        class Failing(Listener):
            def on_fit_task_end(self, estimator, context):
                raise RuntimeError("no more")

        listener = Failing()
        model = PRODENClassifier(max_epochs=4, random_state=0).set_callbacks(listener)
        with pytest.raises(RuntimeError, match="no more"):
            model.fit(*iris)
        assert listener.heard[-1] == "teardown"
        assert model.set_callbacks().fit(*iris).n_iter_ == 4

    def test_callbacks_survive_clone_and_pickle(self):
        model = DDMPClassifier().set_callbacks(Listener(last=7))
        for copy in (clone(model), pickle.loads(pickle.dumps(model))):
            assert copy._skl_callbacks[0].last == 7


class TestWithoutCallbacks:
    def test_support_is_there_from_1_9_on(self):
        is_new = parse_version(sklearn.__version__) >= parse_version("1.9")
        assert is_new == _callbacks.HAVE_CALLBACKS
        assert hasattr(DDMPClassifier(), "set_callbacks") == is_new

    def test_fit_works_where_scikit_learn_has_none(self, iris, monkeypatch):
        X, Y = iris
        model = PRODENClassifier(max_epochs=4, random_state=0)
        expected = model.fit(X, Y).predict_proba(X)
        monkeypatch.setattr(_callbacks, "HAVE_CALLBACKS", False)
        np.testing.assert_array_equal(model.fit(X, Y).predict_proba(X), expected)
