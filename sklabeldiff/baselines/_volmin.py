"""VolMinNetClassifier: one transition matrix for all rows, of least volume."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from sklabeldiff._arrays import load_arrays, state_arrays, without_values
from sklabeldiff._callbacks import FitTask
from sklabeldiff._fields import ROUNDING, Number, Parts, beliefs
from sklabeldiff._fitting import fit_seed, no_bar, whole_fit
from sklabeldiff._parameters import (
    check_number,
    check_widths,
    layer_widths,
)
from sklabeldiff._standardize import (
    SCALER_FIELD,
    check_standardize,
    fit_standardizer,
)
from sklabeldiff._wrong_labels import check_given, warn_of_noise
from sklabeldiff.base import NetworkClassifier
from sklabeldiff.core.group_transitions import is_labelled
from sklabeldiff.core.layers import mlp
from sklabeldiff.core.noisy_classifier import columns_of, label_posterior
from sklabeldiff.core.noisy_training import (
    WatchedTraining,
    network_proba,
    split_rows,
    train_volume_minimisation,
)
from sklabeldiff.core.scaling import Standardizer
from sklabeldiff.core.training import Trainer


class VolMinNetClassifier(NetworkClassifier):
    r"""Network and one transition matrix of least volume, for noisy labels (VolMinNet).

    Assumes that how a label goes wrong depends on the true class alone, that the right
    label is the most frequent one in every class, and that the rows are scattered
    enough for the smallest matrix that explains the labels to be the true one.

    Parameters
    ----------
    hidden : int or tuple of int, default=(256, 256)
        Widths of the hidden layers; () is a linear model.
    volume_penalty : float, default=1e-4
        Weight of log|det T|.
    max_epochs : int or "auto", default="auto"
        Passes over the training rows. "auto" is what 500
        updates take, from 20 to 100.
    batch_size : int, default=256
        Rows in an update.
    learning_rate : float, default=1e-3
        Peak rate of AdamW; ten times as much for the matrix.
    validation_fraction : float or "per_class", default=0.1
        Share of the labelled rows that are not trained on, by which the epoch is
        chosen; in [0, 0.5]. "per_class" holds out ten rows of each given class.
    standardize : {"standard", "rows", "auto"} or None, default="standard"
        "standard" gives columns mean 0 and variance 1, "rows" then scales rows to equal
        norm, "auto" does that where it makes the candidate sets of near rows more
        alike.
    classes : array-like of shape (n_classes,), default=None
        All labels, where `y` may lack some, in the order of ``classes_``.
    missing_label : int, float, str or None, default=None
        A value of `y` that marks an unlabelled row, besides None and NaN.
    device : str, default="auto"
        Torch device; "auto" is a GPU where there is one.
    random_state : int, RandomState instance or None, default=None
        The only source of randomness. Equal seeds give equal models on a CPU.
    verbose : int, default=0
        Shows a progress bar if positive.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The user's labels.
    candidate_sets_ : ndarray of shape (n_samples, n_classes), bool
        What was given for the training rows.
    label_distribution_ : ndarray of shape (n_samples, n_classes), float32
        Beliefs about the true label of each training row, given its features and its
        label. Not confined to the label given.
    transition_matrix_ : ndarray of shape (n_classes, n_classes), float32
        Entry (i, j): probability that a row of class i is given j. Rows sum to 1.
    noise_rate_ : float
        Estimated share of labelled training rows whose true label was not given.
    history_ : list of dict
        "epoch" and mean "loss" of each epoch.
    n_iter_ : int
        Epochs trained.
    network_ : dict of ndarray
        Weights of the network.
    scaler_ : dict
        Centres, scales, and whether rows go to equal norm.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Their names, where X had names.

    See Also
    --------
    sklabeldiff.DTMClassifier : A matrix for every row, starting from this one.

    Notes
    -----
    The loss is [1]_

    .. math:: -\log (T^\top f(x))_{\tilde y} + \lambda \log |\det T| ,

    with a diagonal of T that is the largest entry of its row. A candidate set has the
    sum of its entries in place of one, and an unlabelled row has loss 0.

    As released, T learns ten times as fast as the network and starts with a diagonal of
    1/2, and the epoch is chosen by the loss of a tenth of the noisy rows. The optimiser
    is that of this package, where theirs is SGD, and the network a perceptron.

    References
    ----------
    .. [1] X. Li, T. Liu, B. Han, G. Niu, M. Sugiyama, "Provably End-to-end Label-Noise
           Learning without Anchor Points", ICML 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff.baselines import VolMinNetClassifier
    >>> from sklabeldiff.datasets import make_noisy_labels
    >>> X, y = load_iris(return_X_y=True)
    >>> noisy = make_noisy_labels(None, y, kind="symmetric", rate=0.2, random_state=0)
    >>> clf = VolMinNetClassifier(random_state=0).fit(X, noisy)
    >>> bool((clf.predict(X) == y).mean() > 0.9)
    True
    """

    candidate_sets_may_lack_truth = True

    _shaping = ("hidden",)
    _fields: ClassVar = NetworkClassifier._fields | {
        "scaler_": SCALER_FIELD,
        "network_": Parts({}, networks=("",)),
        "transition_matrix_": beliefs("C", "C"),
        "noise_rate_": Number(low=-ROUNDING, high=1),
    }

    def __init__(
        self,
        hidden: int | tuple[int, ...] = (256, 256),
        *,
        volume_penalty: float = 1e-4,
        max_epochs: int | str = "auto",
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        validation_fraction: float | str = 0.1,
        standardize: str | None = "standard",
        classes: ArrayLike | None = None,
        missing_label: Any = None,
        device: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.hidden = hidden
        self.volume_penalty = volume_penalty
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.standardize = standardize
        self.classes = classes
        self.missing_label = missing_label
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @whole_fit
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Train the network and the matrix.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features; scaled inside, see `standardize`.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            The labels given, one a row; or candidate sets: a 0/1 or bool mask,
            non-negative weights, or one collection of labels per row. None or NaN for
            an unlabelled row.

        Returns
        -------
        self : VolMinNetClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If a class is never given to any row, X holds NaN, or a parameter is out of
            range.
        TypeError
            If a parameter is of the wrong type.

        Warns
        -----
        ConvergenceWarning
            If more than half of the labels seem wrong.
        """
        self._check_params()
        data = self._check_fit(X, y)
        check_given(data, self.classes_)
        seed = fit_seed(self.random_state)
        device = self._device()

        scaler = fit_standardizer(data, self.standardize)
        e = torch.as_tensor(scaler(data.X), device=device)
        V = torch.as_tensor(data.relative_weights(), dtype=e.dtype, device=device)
        training = self._training(V, seed)
        task = FitTask(self, X, y, training.n_epochs())
        listener = task.listener(partial(_learnt_so_far, scaler))
        network = self._make_network(seed).to(device)
        T, losses = self._train(replace(training, listener=listener), network, e, V)

        q = label_posterior(network_proba(network, e), columns_of(T, V))
        self._finish_fit(
            _learnt(scaler, network, T)
            | {
                "label_distribution_": q.cpu().numpy(),
                "noise_rate_": float(1 - (q * (V > 0))[is_labelled(V)].sum(1).mean()),
                "history_": [{"epoch": e, "loss": v} for e, v in enumerate(losses)],
                "n_iter_": len(losses),
            }
        )
        task.end()
        warn_of_noise(self.noise_rate_)
        return self

    def _check_params(self) -> None:
        super()._check_params()
        check_widths("hidden", self.hidden)
        check_number("volume_penalty", self.volume_penalty, 0)
        check_number("batch_size", self.batch_size, 1, integer=True)
        check_standardize(self.standardize)
        check_number(
            "validation_fraction", self.validation_fraction, 0, 0.5, or_word="per_class"
        )

    def _make_network(self, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        widths, n_classes = layer_widths(self.hidden), len(self.classes_)
        return mlp(self.n_features_in_, widths, n_classes, generator)

    def _training(self, V: Tensor, seed: int) -> WatchedTraining:
        """Training on all but the held-out rows."""
        generator = torch.Generator().manual_seed(seed)
        train, held = split_rows(V, self.validation_fraction, generator)
        return WatchedTraining(
            train, held, self.max_epochs, self.batch_size, self.learning_rate, seed
        )

    def _train(
        self, training: WatchedTraining, network: nn.Module, e: Tensor, V: Tensor
    ) -> tuple[Tensor, list[float]]:
        """Train in place; returns T and the loss of each epoch."""
        with tqdm(desc="VolMinNet", unit="epoch", disable=no_bar(self.verbose)) as bar:
            bar.total = training.n_epochs()
            training = replace(training, after_stage=bar.update)
            return train_volume_minimisation(
                training, network, e, V, self.volume_penalty
            )

    def _build(self, device: torch.device) -> nn.Module:
        with without_values():
            network = self._make_network()
        return load_arrays(network, self.network_, device)

    def _predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        e = torch.as_tensor(Standardizer(**self.scaler_)(X), device=self._device())
        return network_proba(self._model, e).cpu().numpy()

    def _label_posterior(self, X: Any, Y: NDArray[Any]) -> NDArray[np.floating]:
        """Beliefs about the true label, given the features and the label. (n, C)."""
        columns = (Y / Y.max(axis=1, keepdims=True)) @ self.transition_matrix_.T
        joint = self.predict_proba(X) * columns
        return joint / joint.sum(axis=1, keepdims=True)


def _learnt(scaler: Standardizer, network: nn.Module, T: Tensor) -> dict[str, Any]:
    """Fitted attributes that prediction needs."""
    return {
        "scaler_": vars(scaler),
        "network_": state_arrays(network),
        "transition_matrix_": T.cpu().numpy(),
    }


def _learnt_so_far(scaler: Standardizer, trainer: Trainer) -> dict[str, Any]:
    """`_learnt`, while training goes on."""
    model: Any = trainer.averaged_module()
    return _learnt(scaler, model.network, model.transition().detach())
