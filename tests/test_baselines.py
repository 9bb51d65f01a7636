"""The yardsticks: what each computes, and the interface they share."""

import os
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklabeldiff import baselines
from sklabeldiff.baselines import (
    CandidateWeightedClassifier,
    CCClassifier,
    DIRKClassifier,
    KernelPropagationClassifier,
    PLKNNClassifier,
    PRODENClassifier,
)
from sklabeldiff.baselines._networks import ConsistentLoss, ProgressiveLoss
from sklabeldiff.core.graph import (
    edge_weights,
    jaccard,
    nearest_neighbours,
    propagate,
)
from sklabeldiff.core.training import Trainer, n_epochs
from sklabeldiff.datasets import make_candidate_sets

FULL = os.environ.get("SKLABELDIFF_FULL") == "1"  # the default's budget
DEFAULTS = [getattr(baselines, name)() for name in baselines.__all__]
if not FULL:
    DEFAULTS = [d for d in DEFAULTS if not isinstance(d, DIRKClassifier)]
    DEFAULTS.append(DIRKClassifier(max_epochs=12))
FAST = [
    PLKNNClassifier(),
    PRODENClassifier(max_epochs=20, random_state=0),
    CCClassifier(max_epochs=20, random_state=0),
    DIRKClassifier(max_epochs=10, random_state=0),
    CandidateWeightedClassifier(),
    CandidateWeightedClassifier(labels="propagated"),
    KernelPropagationClassifier(random_state=0),
]
NETWORKS = [FAST[1], FAST[2]]

every = pytest.mark.parametrize("estimator", FAST, ids=str)
every_network = pytest.mark.parametrize("estimator", NETWORKS, ids=str)


@pytest.fixture(scope="module")
def iris():
    """Iris with candidate sets: X, Y, truth; every tenth row is unlabelled."""
    X, y = load_iris(return_X_y=True)
    Y = make_candidate_sets(y, rate=0.4, random_state=0)
    Y[::10] = True
    return X, Y, y


@pytest.fixture(scope="module")
def digits():
    """600 training rows with candidate sets, 600 test rows with the truth."""
    X, y = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(X))[:1200]
    X, y = X[rows], y[rows]
    Y = make_candidate_sets(y[:600], rate=0.3, random_state=0)
    return X[:600], Y, X[600:], y[600:]


def log_of(V):
    """Weights of candidates as the losses take them."""
    return torch.tensor(V, dtype=torch.float32).log()


@parametrize_with_checks(DEFAULTS)
def test_scikit_learn(estimator, check):
    check(estimator)


class TestPLKNN:
    X = np.array([[0.0], [1.0], [3.0], [50.0]])
    Y = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1]])

    def test_votes_by_hand(self):
        clf = PLKNNClassifier(3, standardize=None).fit(self.X, self.Y)
        # From 1: distances 1, 0, 2, sum 3; weights 2/3, 1, 1/3.
        votes = np.array([2 / 3 + 1 / 3, 2 / 3 + 1, 1 / 3])
        np.testing.assert_allclose(
            clf.predict_proba([[1.0]])[0], votes / votes.sum(), rtol=1e-6
        )

    def test_uniform_votes_by_hand(self):
        clf = PLKNNClassifier(3, weights="uniform", standardize=None)
        proba = clf.fit(self.X, self.Y).predict_proba([[1.0]])
        np.testing.assert_allclose(proba[0], [0.4, 0.4, 0.2], rtol=1e-6)

    def test_training_beliefs_are_votes_of_other_rows_for_the_candidates(self):
        clf = PLKNNClassifier(2, standardize=None).fit(self.X, self.Y)
        # Row 0: rows 1 and 2 at distances 1 and 3; weights 3/4 for b, 1/4 for a and c.
        expected = [1 / 4, 3 / 4, 0]
        np.testing.assert_allclose(clf.label_distribution_[0], expected, rtol=1e-6)

    def test_row_whose_candidates_nobody_votes_for_keeps_equal_belief(self):
        Y = [[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
        clf = PLKNNClassifier(2, standardize=None).fit(self.X[:3], Y)
        np.testing.assert_array_equal(clf.label_distribution_[0], [0.5, 0.5, 0, 0])

    def test_soft_weights_vote_relative_to_the_heaviest(self):
        Y = np.array([[0.5, 0.25, 0.0], [0.0, 0.4, 0.4]])
        clf = PLKNNClassifier(1, standardize=None).fit([[0.0], [10.0]], Y)
        proba = clf.predict_proba([[1.0], [9.0]])
        np.testing.assert_allclose(proba, [[2 / 3, 1 / 3, 0], [0, 0.5, 0.5]], rtol=1e-6)

    def test_duplicates_vote_alike(self):
        clf = PLKNNClassifier(3, standardize=None).fit(np.zeros((3, 2)), self.Y[:3])
        proba = clf.predict_proba(np.zeros((1, 2)))
        np.testing.assert_allclose(proba[0], [0.4, 0.4, 0.2], rtol=1e-6)


class TestPRODEN:
    def test_beliefs_start_uniform(self):
        loss = ProgressiveLoss(log_of([[1, 1, 0], [0, 0, 1], [1, 1, 1]]))
        expected = [[0.5, 0.5, 0], [0, 0, 1], [1 / 3] * 3]
        torch.testing.assert_close(loss.W, torch.tensor(expected))

    def test_soft_weights_are_where_beliefs_start(self):
        loss = ProgressiveLoss(log_of([[1, 0.25, 0]]))
        torch.testing.assert_close(loss.W, torch.tensor([[0.8, 0.2, 0.0]]))

    def test_loss_and_beliefs_by_hand(self):
        loss = ProgressiveLoss(log_of([[1, 0, 0], [1, 1, 0]]))
        z = torch.tensor([[0.5, 0.3, 0.2]]).log()
        value = loss(z, torch.tensor([1]))
        expected = -(np.log(0.5) + np.log(0.3)) / 2
        assert float(value) == pytest.approx(expected)
        torch.testing.assert_close(loss.W[1], torch.tensor([5 / 8, 3 / 8, 0]))
        # The next loss is taken with the new beliefs.
        again = -(5 * np.log(0.5) + 3 * np.log(0.3)) / 8
        assert float(loss(z, torch.tensor([1]))) == pytest.approx(again)
        torch.testing.assert_close(loss.W[0], torch.tensor([1.0, 0.0, 0.0]))

    def test_beliefs_carry_no_gradient(self):
        loss = ProgressiveLoss(log_of([[1, 1, 0]]))
        z = torch.zeros(1, 3, requires_grad=True)
        loss(z, torch.tensor([0]))
        assert not loss.W.requires_grad

    def test_beliefs_stay_on_candidates_where_the_network_is_sure_of_another(self):
        loss = ProgressiveLoss(log_of([[1, 1, 0]]))
        loss(torch.tensor([[-500.0, -499.0, 500.0]]), torch.tensor([0]))
        expected = [1 / (1 + np.e), np.e / (1 + np.e), 0]
        torch.testing.assert_close(loss.W[0], torch.tensor(expected))

    def test_single_labels_are_trained_by_cross_entropy(self, iris):
        X, _, y = iris
        clf = PRODENClassifier(max_epochs=5, random_state=3).fit(X, y)
        seed = int(np.random.RandomState(3).randint(2**31 - 1))
        Z = torch.tensor(StandardScaler().fit_transform(X), dtype=torch.float32)
        labels = torch.tensor(y)
        trainer = Trainer(
            clf._make_network(4, seed),
            lambda net, i: torch.nn.functional.cross_entropy(net(Z[i]), labels[i]),
            len(Z),
            torch.Generator().manual_seed(seed),
            batch_size=256,
            learning_rate=1e-3,
            weight_decay=0.01,
            ema=0.99,
            planned_updates=5,
        )
        trainer.run(4)
        trainer.decay(1)
        trainer.run(1)
        for name, weights in trainer.averaged.items():
            # The two losses round differently; Adam takes steps of 1e-3.
            np.testing.assert_allclose(clf.network_[name], weights.numpy(), atol=1e-5)


class TestCC:
    def test_loss_by_hand(self):
        loss = ConsistentLoss(log_of([[1, 1, 0], [0, 0, 1], [1, 1, 1]]))
        z = torch.tensor([[0.5, 0.3, 0.2]] * 3).log()
        value = loss(z, torch.arange(3))
        assert float(value) == pytest.approx(-(np.log(0.8) + np.log(0.2)) / 3)

    def test_soft_weights_scale_the_probabilities(self):
        loss = ConsistentLoss(log_of([[1, 0.5, 0]]))
        z = torch.tensor([[0.5, 0.3, 0.2]]).log()
        assert float(loss(z, torch.tensor([0]))) == pytest.approx(-np.log(0.65))

    def test_unlabelled_rows_give_no_gradient(self):
        loss = ConsistentLoss(log_of([[1, 1, 1]]))
        z = torch.tensor([[0.5, 0.3, 0.2]], requires_grad=True)
        loss(z, torch.tensor([0])).backward()
        torch.testing.assert_close(z.grad, torch.zeros(1, 3), atol=1e-7, rtol=0)


class TestNetworks:
    @every_network
    def test_training_beliefs_are_those_of_the_network_among_candidates(
        self, estimator, iris
    ):
        X, Y, _ = iris
        clf = clone(estimator).fit(X, Y)
        masked = clf.predict_proba(X) * Y
        expected = masked / masked.sum(1, keepdims=True)
        np.testing.assert_allclose(clf.label_distribution_, expected, atol=1e-6)

    @every_network
    def test_history_has_one_loss_an_epoch_and_it_falls(self, estimator, iris):
        clf = clone(estimator).fit(*iris[:2])
        losses = [log["loss"] for log in clf.history_]
        assert len(losses) == clf.n_iter_ == 20
        assert losses[-1] < losses[0]

    @pytest.mark.parametrize("rows, epochs", [(100, 200), (5000, 150), (10**7, 1)])
    def test_auto_epochs_are_bounded_by_updates(self, rows, epochs):
        assert n_epochs("auto", rows, batch_size=256) == epochs

    @pytest.mark.parametrize("hidden", [8, (), (8, 4)])
    def test_layers_are_as_asked(self, hidden, iris):
        clf = CCClassifier(hidden, max_epochs=1, random_state=0).fit(*iris[:2])
        widths = {8: [8], (): [], (8, 4): [8, 4]}[hidden]
        biases = [v for k, v in clf.network_.items() if k.endswith("bias")]
        assert [len(bias) for bias in biases] == [*widths, 3]

    @every_network
    def test_seeds_matter(self, estimator, iris):
        X, Y, _ = iris
        one, two = (clone(estimator).set_params(random_state=s) for s in (0, 1))
        assert (one.fit(X, Y).predict_proba(X) != two.fit(X, Y).predict_proba(X)).any()


class TestCandidateWeighted:
    def test_is_logistic_regression_on_repeated_rows(self, iris):
        X, Y, _ = iris
        clf = CandidateWeightedClassifier().fit(X, Y)
        Z = StandardScaler().fit_transform(X).astype(np.float32).astype(float)
        rows, labels, weights = [], [], []
        for z, row in zip(Z, Y, strict=True):
            for j in np.flatnonzero(row):
                rows.append(z)
                labels.append(j)
                weights.append(1 / row.sum())
        direct = LogisticRegression(max_iter=1000).fit(rows, labels, weights)
        np.testing.assert_allclose(
            clf.predict_proba(X), direct.predict_proba(Z), atol=1e-6
        )

    def test_user_weights_are_the_sample_weights(self, iris):
        X, Y, _ = iris
        soft = Y * [3.0, 2.0, 1.0]
        clf = CandidateWeightedClassifier().fit(X, soft)
        expected = soft / soft.sum(1, keepdims=True)
        np.testing.assert_allclose(clf.label_distribution_, expected, rtol=1e-6)
        plain = CandidateWeightedClassifier().fit(X, Y)
        assert abs(clf.predict_proba(X) - plain.predict_proba(X)).max() > 0.05

    def test_propagated_labels_are_argmax_of_graph_beliefs(self, iris):
        X, Y, _ = iris
        tree = DecisionTreeClassifier(random_state=0)
        clf = CandidateWeightedClassifier(tree, labels="propagated").fit(X, Y)
        Z = StandardScaler().fit_transform(X).astype(np.float32).astype(float)
        distances, neighbours = nearest_neighbours(Z, 10)
        W = edge_weights(distances, neighbours, jaccard(Y, neighbours))
        S = propagate(W, Y, Y / Y.sum(1, keepdims=True), 10)
        np.testing.assert_allclose(clf.label_distribution_, S, atol=1e-6)
        direct = clone(tree).fit(Z, S.argmax(1))
        np.testing.assert_array_equal(clf.predict(X), direct.predict(Z))

    def test_class_never_believed_has_probability_zero(self, iris):
        X, Y, _ = iris
        Y = np.insert(Y[1:], 1, False, axis=1) & True
        Y = Y[~Y.all(axis=1)]
        clf = CandidateWeightedClassifier(classes=list("dbca"))
        proba = clf.fit(X[: len(Y)], Y).predict_proba(X)
        assert (proba[:, 1] == 0).all()
        np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-6)
        assert set(clf.predict(X)) <= set("dca")

    def test_wrapped_classifier_without_probabilities_predicts(self, iris):
        X, Y, y = iris
        clf = CandidateWeightedClassifier(LinearSVC(random_state=0))
        assert not hasattr(clf, "predict_proba")
        clf.fit(X, Y)
        assert not hasattr(clf, "predict_proba")
        assert (clf.predict(X) == y).mean() > 0.8
        assert clf.score(X, Y) > 0.8

    @pytest.mark.parametrize(
        "wrapped", [KNeighborsClassifier(), make_pipeline(StandardScaler(), SVC())]
    )
    def test_refuses_classifier_without_sample_weight(self, wrapped, iris):
        with pytest.raises(TypeError, match=r"sample_weight.*labels='propagated'"):
            CandidateWeightedClassifier(wrapped).fit(*iris[:2])
        clf = CandidateWeightedClassifier(wrapped, labels="propagated")
        assert clf.fit(*iris[:2]).score(*iris[:2]) > 0.8

    def test_refuses_propagation_into_one_class(self):
        with pytest.raises(ValueError, match=r"1 class, 'a'.*labels='weighted'"):
            CandidateWeightedClassifier(labels="propagated").fit(
                np.arange(4.0)[:, None], [{"a", "b"}, {"a"}, {"a", "b"}, {"a", "b"}]
            )

    def test_given_classifier_stays_unfitted(self, iris):
        tree = DecisionTreeClassifier(random_state=0)
        CandidateWeightedClassifier(tree).fit(*iris[:2])
        assert not hasattr(tree, "tree_")


class TestKernelPropagation:
    def test_one_fit_is_ridge_on_nystroem_features(self, iris):
        X, Y, _ = iris
        clf = KernelPropagationClassifier(n_passes=0, n_propagations=0, random_state=0)
        clf.fit(X, Y)
        Z = StandardScaler().fit_transform(X)
        features = Nystroem(gamma=0.1 / 4, n_components=150, random_state=0)
        F = features.fit_transform(Z)
        answers = Ridge(alpha=0.1).fit(F, Y / Y.sum(1, keepdims=True)).predict(F)
        answers = answers.clip(0) / answers.clip(0).sum(1, keepdims=True)
        # Small directions of the kernel are left out, in single precision.
        np.testing.assert_allclose(clf.predict_proba(X), answers, atol=5e-3)

    def test_a_pass_masks_the_answers_of_the_fit_before(self, iris):
        X, Y, _ = iris
        start, after = (
            KernelPropagationClassifier(n_passes=n, random_state=0).fit(X, Y)
            for n in (0, 1)
        )
        masked = start.predict_proba(X) * Y
        expected = masked / masked.sum(1, keepdims=True)
        np.testing.assert_allclose(after.label_distribution_, expected, atol=1e-4)

    def test_soft_weights_enter_each_pass(self, iris):
        X, Y, _ = iris
        soft = Y * [4.0, 2.0, 1.0]
        start, after = (
            KernelPropagationClassifier(n_passes=n, random_state=0).fit(X, soft)
            for n in (0, 1)
        )
        masked = start.predict_proba(X) * soft
        expected = masked / masked.sum(1, keepdims=True)
        np.testing.assert_allclose(after.label_distribution_, expected, atol=1e-4)

    def test_centres_are_as_many_as_asked(self, iris):
        clf = KernelPropagationClassifier(n_components=20, random_state=0)
        X, Y, y = iris
        clf.fit(X, Y)
        assert clf.centres_.shape == (20, 4)
        assert (clf.predict(X) == y).mean() > 0.8


class TestAll:
    @every
    def test_beats_the_majority_class(self, estimator, digits):
        X, Y, X_test, y_test = digits
        clf = clone(estimator)
        if hasattr(clf, "max_epochs"):
            clf.set_params(max_epochs=60)
        accuracy = (clf.fit(X, Y).predict(X_test) == y_test).mean()
        majority = np.bincount(y_test).max() / len(y_test)
        # Three seeds: .74 to .80 for weighted rows, .91 to .96 for the others.
        weighted = getattr(clf, "labels", None) == "weighted"
        assert accuracy > majority + (0.5 if weighted else 0.7)

    @every
    def test_beliefs_lie_on_the_candidates(self, estimator, iris):
        X, Y, _ = iris
        S = clone(estimator).fit(X, Y).label_distribution_
        assert S.dtype == np.float32
        assert (S[~Y] == 0).all()
        np.testing.assert_allclose(S.sum(1), 1, rtol=1e-5)

    @every
    def test_probabilities_are_float_and_sum_to_one(self, estimator, iris):
        X, Y, _ = iris
        clf = clone(estimator).fit(X, Y)
        far = np.vstack([X, 1e3 * X])
        proba = clf.predict_proba(far)
        assert proba.dtype == np.float32
        assert (proba >= 0).all()
        np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-5)

    @every
    def test_same_seed_same_model(self, estimator, iris):
        X, Y, _ = iris
        one, two = (clone(estimator).fit(X, Y).predict_proba(X) for _ in range(2))
        np.testing.assert_array_equal(one, two)

    @every
    def test_row_is_answered_alone(self, estimator, iris):
        X, Y, _ = iris
        clf = clone(estimator).fit(X, Y)
        whole = clf.predict_proba(X)
        parts = np.vstack([clf.predict_proba(X[:1]), clf.predict_proba(X[1:])])
        if isinstance(clf, CandidateWeightedClassifier):  # the wrapped one decides
            np.testing.assert_allclose(parts, whole, rtol=1e-6)
        else:
            np.testing.assert_array_equal(parts, whole)

    @every
    def test_equal_forms_of_y_give_equal_models(self, estimator, iris):
        X, Y, _ = iris
        names = np.array(["a", "b", "c"])
        forms = [
            pd.DataFrame(Y, columns=names),
            pd.DataFrame(Y * 0.25, columns=names),
            [frozenset(names[row]) for row in Y],
            [None if row.all() else set(names[row]) for row in Y],
        ]
        reference = clone(estimator).fit(X, Y)
        for form in forms:
            clf = clone(estimator).fit(X, form)
            np.testing.assert_array_equal(clf.classes_, names)
            np.testing.assert_array_equal(
                clf.predict_proba(X), reference.predict_proba(X)
            )
            assert clf.predict(X[:1])[0] in names

    @every
    def test_missing_label_is_every_class(self, estimator, iris):
        X, _, y = iris
        partly = np.where(np.arange(len(y)) % 3 == 0, -1, y)
        clf = clone(estimator).set_params(missing_label=-1).fit(X, partly)
        Y = np.eye(3, dtype=bool)[y]
        Y[::3] = True
        reference = clone(estimator).fit(X, Y)
        np.testing.assert_array_equal(clf.predict_proba(X), reference.predict_proba(X))

    @every
    def test_global_generators_are_untouched(self, estimator, iris):
        X, Y, _ = iris
        clf = clone(estimator)
        if hasattr(clf, "random_state"):
            clf.set_params(random_state=np.random.RandomState(0))
        numpy_state = np.random.mtrand._rand.get_state
        state, torch_state = numpy_state()[1].copy(), torch.get_rng_state()
        clf.fit(X, Y).predict(X)
        np.testing.assert_array_equal(numpy_state()[1], state)
        assert torch.equal(torch.get_rng_state(), torch_state)

    @every
    def test_pickle_predicts_alike(self, estimator, iris):
        X, Y, _ = iris
        clf = clone(estimator).fit(X, Y)
        again = pickle.loads(pickle.dumps(clf))
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))

    @every
    def test_saved_estimator_predicts_alike(self, estimator, iris, tmp_path):
        X, Y, _ = iris
        clf = clone(estimator).fit(X, Y)
        path = tmp_path / "model.safetensors"
        if isinstance(clf, CandidateWeightedClassifier):
            with pytest.raises(TypeError, match="pickle"):
                clf.save(path)
            return
        clf.save(path)
        again = type(clf).load(path)
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))

    @every
    @pytest.mark.parametrize("standardize", ["standard", "rows", "auto", None])
    def test_scalings(self, estimator, standardize, iris):
        X, Y, _ = iris
        clf = clone(estimator).set_params(standardize=standardize).fit(X, Y)
        # Row scaling removes the size of a flower, which tells most.
        assert clf.score(X, Y) > 0.6
        if standardize != "auto":
            scaled = getattr(clf, "row_scaling_", None)
            scaled = clf.scaler_["equal_norm"] if scaled is None else scaled
            assert scaled == (standardize == "rows")

    def test_search_scores_by_the_covering_rate(self, iris):
        X, Y, _ = iris
        folds = KFold(3, shuffle=True, random_state=0)
        search = GridSearchCV(PLKNNClassifier(), {"n_neighbors": [3, 10]}, cv=folds)
        assert search.fit(X, Y).best_score_ > 0.9


class TestErrors:
    @pytest.mark.parametrize(
        "estimator, error, message",
        [
            (PLKNNClassifier(0), ValueError, "n_neighbors must be at least 1"),
            (PLKNNClassifier(2.5), TypeError, "n_neighbors must be an integer"),
            (PLKNNClassifier(weights="near"), ValueError, "weights must be one of"),
            (PRODENClassifier((8, 0)), ValueError, "hidden must be at least 1"),
            (PRODENClassifier(max_epochs=0), ValueError, "max_epochs"),
            (PRODENClassifier(max_epochs="all"), TypeError, "max_epochs"),
            (CCClassifier(learning_rate=0), ValueError, "learning_rate must be above"),
            (CCClassifier(weight_decay=-1), ValueError, "weight_decay"),
            (CCClassifier(batch_size=0), ValueError, "batch_size"),
            (CandidateWeightedClassifier(labels="hard"), ValueError, "labels must be"),
            (KernelPropagationClassifier(gamma=0), ValueError, "gamma must be above"),
            (KernelPropagationClassifier(ridge=0), ValueError, "ridge must be above"),
            (KernelPropagationClassifier(n_passes=-1), ValueError, "n_passes"),
        ],
        ids=str,
    )
    def test_parameters(self, estimator, error, message, iris):
        with pytest.raises(error, match=message):
            estimator.fit(*iris[:2])

    @every
    def test_unknown_scaling(self, estimator, iris):
        with pytest.raises(ValueError, match="standardize must be one of"):
            clone(estimator).set_params(standardize="columns").fit(*iris[:2])

    @every
    def test_row_without_candidates(self, estimator, iris):
        X, Y, _ = iris
        Y = Y.copy()
        Y[17] = False
        with pytest.raises(ValueError, match="row 17 has no candidate"):
            clone(estimator).fit(X, Y)
