"""DMISClassifier with many classes: what is asked, and that answers stay the same."""

import numpy as np
import pytest
import torch

from sklabeldiff import DMISClassifier, dmis
from sklabeldiff.core import class_diffusion
from sklabeldiff.core.class_denoisers import ClassDenoiser
from sklabeldiff.core.imprecise import confined
from sklabeldiff.datasets import make_candidate_sets

C = 60


def clouds(seed=0, n_rows=600, n_classes=C, n_columns=8):
    rng = np.random.RandomState(seed)
    centres = 2 * rng.randn(n_classes, n_columns)
    y = np.arange(n_rows) % n_classes
    return (centres[y] + rng.randn(n_rows, n_columns)).astype(np.float32), y


def quick(**params):
    """Few updates of a small network."""
    small = {"max_epochs": 1, "hidden": 32, "random_state": 0}
    return DMISClassifier(**(small | params))


@pytest.fixture(scope="module", autouse=True)
def fewer_are_many():
    """Rules of 200 classes, at 50."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dmis, "MANY_CLASSES", 50)
        patch.setattr(dmis, "N_OTHERS", 24)
        yield


@pytest.fixture(scope="module")
def problem(fewer_are_many):
    X, y = clouds()
    return X, make_candidate_sets(y, "uniform", rate=0.05, random_state=0), y


@pytest.fixture(scope="module")
def fitted(problem):
    return quick(max_epochs=10).fit(*problem[:2])


def conditions_of(monkeypatch, clf, *data):
    """How many classes a row is asked about, call by call of a fit."""
    seen, forward = [], ClassDenoiser.forward

    def watched(self, u, c_noise, condition=None):
        seen.append(len(self.scales) if condition is None else condition.shape[1])
        return forward(self, u, c_noise, condition)

    monkeypatch.setattr(ClassDenoiser, "forward", watched)
    clf.fit(*data)
    return seen


def test_many_classes_are_asked_about_in_part(problem, monkeypatch):
    X, sets, _ = problem
    largest = int(sets.sum(1).max())
    seen = conditions_of(monkeypatch, quick(), X, sets)
    # In training, and then of beliefs about training rows: candidates alone.
    n_asked = largest + dmis.N_OTHERS
    assert seen[0] == n_asked < C
    assert set(seen) <= {n_asked, largest, C}
    n_calls = 8 * -(-len(X) // 256)  # of the trial prediction that ends a fit
    assert seen.count(largest) == n_calls
    assert seen.count(C) <= n_calls


@pytest.mark.parametrize("params", [{"top_k": C}, {"conditioning": "vanilla"}])
def test_all_can_be_asked_for(problem, monkeypatch, params):
    X, sets, _ = problem
    seen = conditions_of(monkeypatch, quick(**params), X, sets)
    assert dmis.N_OTHERS + int(sets.sum(1).max()) not in seen


def test_few_classes_are_asked_about_all_alike(monkeypatch):
    X, y = clouds(n_classes=49, n_rows=196)
    seen = conditions_of(monkeypatch, quick(), X, y)
    assert set(seen) == {49}


def test_sets_of_nearly_all_classes_are_asked_about_whole(monkeypatch):
    X, y = clouds(n_rows=180)
    sets = make_candidate_sets(y, "uniform", rate=0.6, random_state=0)
    seen = conditions_of(monkeypatch, quick(), X, sets)
    assert set(seen) == {C}


def test_accuracy_is_that_of_all_classes(problem):
    X, sets, y = problem
    part, whole = (quick(top_k=k, max_epochs=20).fit(X, sets) for k in (None, C))
    accuracy = [(clf.predict(X) == y).mean() for clf in (part, whole)]
    assert accuracy[0] > accuracy[1] - 0.02  # .883 and .888
    assert accuracy[0] > 0.8


@pytest.mark.parametrize("kind", ["noisy", "semi"])
def test_single_labels_are_asked_about_whole(problem, monkeypatch, kind):
    X, _, y = problem
    given = y if kind == "noisy" else np.where(np.arange(len(y)) < 99, y, np.nan)
    assert set(conditions_of(monkeypatch, quick(), X, given)) <= {C, 1}


def test_beliefs_in_sets_are_those_of_the_posterior(fitted, problem):
    X, sets, _ = problem
    model, V = fitted._model, torch.tensor(sets, dtype=torch.float32)
    V[:5] = 1.0  # unlabelled rows are asked about all classes
    x = model.scaled(X)
    expected = confined(model.log_posterior(x), V)
    found = model.beliefs_in_sets(x, V)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert (found[V == 0] == 0).all()
    assert (fitted.label_distribution_[~sets.astype(bool)] == 0).all()


def test_predictions_in_blocks_of_classes_are_the_same(fitted, problem, monkeypatch):
    X = problem[0][:40]
    whole = fitted.predict_proba(X)
    largest, forward = [], ClassDenoiser.forward

    def watched(self, u, c_noise, condition=None):
        F = forward(self, u, c_noise, condition)
        largest.append(F.numel())
        return F

    monkeypatch.setattr(ClassDenoiser, "forward", watched)
    monkeypatch.setattr(class_diffusion, "MAX_BLOCK_ENTRIES", 12 * 16)  # 16 classes
    np.testing.assert_allclose(fitted.predict_proba(X), whole, rtol=1e-3, atol=1e-5)
    assert max(largest) <= 12 * 16


def test_network_that_bounds_its_answers_is_asked_in_parts(fitted, problem):
    model = fitted._model
    x = model.scaled(problem[0][:10])
    whole = model.log_posterior(x)
    sizes = []

    def network(u, c_noise, condition=None):
        assert condition is not None
        sizes.append(condition.numel())
        return model.network(u, c_noise, condition)

    network.block_answers = 16
    reader = model._reader(model.weighting)
    ell = reader.log_likelihood(network, x, C)
    found = class_diffusion.log_posterior(ell, model.log_prior, model.temperature)
    torch.testing.assert_close(found, whole, rtol=1e-3, atol=1e-3)
    assert max(sizes) == 16
