"""Peers of DTM on wrong labels: cleanlab, and a diffusion after LRA.

Both stand around the networks and budgets of the package, so that a difference is one
of method.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.preprocessing import LabelEncoder
from torch import Tensor, nn

from sklabeldiff.baselines import CCClassifier
from sklabeldiff.core.denoisers import make_denoiser
from sklabeldiff.core.graph import nearest_neighbours
from sklabeldiff.core.label_diffusion import LabelDiffusion
from sklabeldiff.core.process import GaussianProcess
from sklabeldiff.core.scaling import Standardizer
from sklabeldiff.core.schedules import make_schedule
from sklabeldiff.core.training import Trainer, n_batches, train_in_stages

HIDDEN = 128  # of the gated network, as in DDMP; 256 takes half as long again
# As the networks of the baselines.
# Not imported from DTM: a change of it must not make the results of others stale. A
# test holds the two together.
AUTO_UPDATES, MIN_EPOCHS, MAX_EPOCHS = 500, 20, 100
BATCH_SIZE, LEARNING_RATE = 256, 1e-3
WEIGHT_DECAY, EMA = 0.01, 0.99
MANY_ROWS, FEW_NEIGHBORS, MANY_NEIGHBORS = 10_000, 10, 50
N_TIMESTEPS, N_SAMPLING_STEPS = 100, 10
N_FOLDS = 5  # cleanlab's default


def cleanlab_module(name: str) -> Any:
    """Import a module of cleanlab, which only the benchmarks need."""
    try:
        return import_module(f"cleanlab.{name}")
    except ImportError as error:
        raise ImportError(
            'This method needs cleanlab: pip install "sklabeldiff[bench]"'
        ) from error


def budget(n_rows: int) -> int:
    """Epochs of every network here: as many as DTM takes for its own."""
    epochs = AUTO_UPDATES // n_batches(n_rows, BATCH_SIZE)
    return min(max(epochs, MIN_EPOCHS), MAX_EPOCHS)


class CrossEntropyClassifier(ClassifierMixin, BaseEstimator):
    """Perceptron on the labels as given: with one candidate a row, CC's loss is that.

    Parameters
    ----------
    hidden : tuple of int
    random_state : int
    """

    def __init__(self, hidden: tuple[int, ...], random_state: int = 0) -> None:
        self.hidden = hidden
        self.random_state = random_state

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        self.network_ = CCClassifier(
            self.hidden,
            max_epochs=budget(len(X)),
            batch_size=BATCH_SIZE,
            random_state=self.random_state,
        ).fit(X, y)
        self.classes_ = self.network_.classes_
        return self

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        return self.network_.predict(X)

    def predict_proba(self, X: NDArray[Any]) -> NDArray[Any]:
        return self.network_.predict_proba(X)


class CleanLearningClassifier(ClassifierMixin, BaseEstimator):
    """cleanlab's CleanLearning around a classifier.

    It finds wrong labels from out-of-fold probabilities (5 folds, a clone each), drops
    their rows and trains a last clone on the rest. All settings are its defaults.

    Parameters
    ----------
    classifier : classifier
    random_state : int
        Of the folds. cleanlab seeds numpy's global generator with it.
    """

    def __init__(self, classifier: Any, random_state: int = 0) -> None:
        self.classifier = classifier
        self.random_state = random_state

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        self.encoder_ = LabelEncoder().fit(y)  # cleanlab wants 0 to K - 1, all present
        learning = cleanlab_module("classification").CleanLearning(
            clone(self.classifier),
            seed=self.random_state,
            cv_n_folds=N_FOLDS,
            # One core a worker. It changes the time alone.
            find_label_issues_kwargs={"n_jobs": 1},
        )
        self.learning_ = learning.fit(X, self.encoder_.transform(y))
        return self

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        return self.encoder_.inverse_transform(self.learning_.predict(X))


class RetrievalDiffusionClassifier(ClassifierMixin, BaseEstimator):
    """A diffusion over labels retrieved from neighbours, after LRA-diffusion.

    Theirs (Chen et al., "Label-Retrieval-Augmented Diffusion Models for Learning from
    Noisy Labels", NeurIPS 2023, and its code): the label to generate is drawn anew at
    every update from the row's own and those of its k nearest neighbours among given
    features; a draw weighs by how many of them agree with it; the gated network; prior
    mean zero; 10 deterministic steps to predict.

    Ours: raw features, standardised, in place of a pretrained encoder, and a perceptron
    in place of the second image network; the clean label is predicted, not the noise;
    100 diffusion steps for their 1000; optimiser and budget of the package's baselines.
    Draw and weight are one: labels are drawn in proportion to their squared number,
    which per row is the same loss on average.

    Parameters
    ----------
    random_state : int
    """

    def __init__(self, random_state: int = 0) -> None:
        self.random_state = random_state

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        self.encoder_ = LabelEncoder().fit(y)
        self.scaler_ = Standardizer.fit(X)
        Z = self.scaler_(X)
        c = torch.as_tensor(Z)
        votes = self._votes(Z, self.encoder_.transform(y))
        draws = torch.as_tensor(votes**2, dtype=c.dtype)
        f = torch.zeros_like(draws)
        gen = torch.Generator().manual_seed(self.random_state)
        self.model_ = self._make_model(c.shape[1], draws.shape[1], gen)

        def loss(module: nn.Module, rows: Tensor) -> Tensor:
            drawn = torch.multinomial(draws[rows], 1, generator=gen)
            labels = torch.zeros_like(f[rows]).scatter_(1, drawn, 1.0)
            return self.model_.loss(module, labels, c[rows], f[rows], gen)

        epochs = budget(len(c))
        trainer = Trainer(
            self.model_.denoiser,
            loss,
            len(c),
            gen,
            batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            ema=EMA,
            planned_updates=epochs * n_batches(len(c), BATCH_SIZE),
        )
        train_in_stages(trainer, epochs, after_stage=lambda epochs: None)
        trainer.module.load_state_dict(trainer.averaged, strict=False)
        return self

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        c = torch.as_tensor(self.scaler_(X))
        f = torch.zeros((len(c), len(self.encoder_.classes_)))
        P = self.model_.label_distribution(c, f)
        return self.encoder_.inverse_transform(P.argmax(1).numpy())

    def _votes(self, Z: NDArray[np.float32], codes: NDArray[Any]) -> NDArray[Any]:
        """Labels of a row and its neighbours, counted. (n, p), (n,) -> (n, C)."""
        k = MANY_NEIGHBORS if len(Z) >= MANY_ROWS else FEW_NEIGHBORS
        _, neighbours = nearest_neighbours(Z, k)
        one_hot = np.eye(len(self.encoder_.classes_))[codes]
        votes = one_hot.copy()
        for column in neighbours.T:  # n x C at a time, not n x k x C
            votes += one_hot[column]
        return votes

    def _make_model(
        self, n_features: int, n_classes: int, gen: torch.Generator
    ) -> LabelDiffusion:
        denoiser = make_denoiser(
            "gated", n_features, n_classes, N_TIMESTEPS, HIDDEN, gen
        )
        schedule = make_schedule("cosine", N_TIMESTEPS)
        process = GaussianProcess(schedule)
        return LabelDiffusion(denoiser, process, N_SAMPLING_STEPS)


class OwnIssues(BaseEstimator):
    """Rows as `label_issues` of one of our classifiers orders them.

    Parameters
    ----------
    classifier : classifier
    cv : int or None
        Folds of the beliefs; None for those of training.
    """

    def __init__(self, classifier: Any, cv: int | None = None) -> None:
        self.classifier = classifier
        self.cv = cv

    def rank(self, X: NDArray[Any], y: NDArray[Any]) -> NDArray[np.intp]:
        """Rows, most suspicious first. (n, d), (n,) -> (n,)."""
        clf = clone(self.classifier)
        if self.cv is None:
            issues = clf.fit(X, y).label_issues()
        else:
            issues = clf.label_issues(X, y, cv=self.cv)
        return issues["row"].to_numpy()


class CleanlabIssues(BaseEstimator):
    """Rows as cleanlab orders them, from out-of-fold probabilities of a classifier.

    Parameters
    ----------
    classifier : classifier
    score : {"self_confidence", "normalized_margin"}
    random_state : int
        Of the folds.
    """

    def __init__(self, classifier: Any, score: str, random_state: int = 0) -> None:
        self.classifier = classifier
        self.score = score
        self.random_state = random_state

    def rank(self, X: NDArray[Any], y: NDArray[Any]) -> NDArray[np.intp]:
        """Rows, most suspicious first. (n, d), (n,) -> (n,)."""
        codes = LabelEncoder().fit_transform(y)
        folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=self.random_state)
        proba = cross_val_predict(
            self.classifier, X, codes, cv=folds, method="predict_proba"
        )
        rank = cleanlab_module("rank")
        quality = rank.get_label_quality_scores(codes, proba, method=self.score)
        return np.argsort(quality, kind="stable")
