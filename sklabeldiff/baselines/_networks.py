"""PRODENClassifier and CCClassifier: a multi-layer perceptron and a loss on sets.

The two share everything but the loss.

    z       (b, C)  the network's answers before softmax
    log_v   (n, C)  log weight of each candidate relative to the heaviest of its row: 0
                    for candidates and -inf for the others, unless the user gave weights
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from sklabeldiff._arrays import load_arrays, state_arrays, without_values
from sklabeldiff._callbacks import FitTask
from sklabeldiff._fields import Parts
from sklabeldiff._fitting import fit_seed, kept_if_interrupted, no_bar, whole_fit
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
from sklabeldiff.base import NetworkClassifier
from sklabeldiff.core.blocks import in_blocks
from sklabeldiff.core.layers import mlp
from sklabeldiff.core.scaling import Standardizer
from sklabeldiff.core.training import (
    EpochListener,
    Trainer,
    n_batches,
    n_epochs,
    train_in_stages,
)

EMA = 0.99


class SetLoss(Protocol):
    """Loss on candidate sets."""

    tables: list[Tensor]  # what it notes of its rows

    def __call__(self, z: Tensor, rows: Tensor) -> Tensor:
        """Mean loss of the rows. (b, C), (b,) -> ()."""


class ProgressiveLoss:
    """PRODEN's loss: cross-entropy on beliefs W that follow the network.

    Parameters
    ----------
    log_v : Tensor of shape (n, C)

    Attributes
    ----------
    tables : list of Tensor
        W, which is noted at each call.
    """

    def __init__(self, log_v: Tensor) -> None:
        self.log_v = log_v
        self.W = log_v.softmax(1)  # (n, C), rows sum to 1
        self.tables = [self.W]

    def __call__(self, z: Tensor, rows: Tensor) -> Tensor:
        """Mean loss of the rows; moves their beliefs. (b, C), (b,) -> ()."""
        loss = -(self.W[rows] * z.log_softmax(1)).sum(1).mean()
        self.W[rows] = (z.detach() + self.log_v[rows]).softmax(1)
        return loss


class ConsistentLoss:
    """CC's loss: minus the log probability that the label is in the set.

    Parameters
    ----------
    log_v : Tensor of shape (n, C)

    Attributes
    ----------
    tables : list of Tensor
        Empty: nothing is noted.
    """

    def __init__(self, log_v: Tensor) -> None:
        self.log_v = log_v
        self.tables: list[Tensor] = []

    def __call__(self, z: Tensor, rows: Tensor) -> Tensor:
        """Mean loss of the rows. (b, C), (b,) -> ()."""
        return -(z.log_softmax(1) + self.log_v[rows]).logsumexp(1).mean()


class _SetLossClassifier(NetworkClassifier):
    """A perceptron trained by a loss on candidate sets; subclasses name the loss."""

    _make_loss: Callable[[Tensor], SetLoss]
    _shaping = ("hidden",)
    _fields: ClassVar = NetworkClassifier._fields | {
        "scaler_": SCALER_FIELD,
        "network_": Parts({}, networks=("",)),
    }

    def __init__(
        self,
        hidden: int | tuple[int, ...] = (256,),
        *,
        max_epochs: int | str = "auto",
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.01,
        standardize: str | None = "standard",
        classes: ArrayLike | None = None,
        missing_label: Any = None,
        device: str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.standardize = standardize
        self.classes = classes
        self.missing_label = missing_label
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @whole_fit
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Train the network on the candidate sets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features; scaled inside, see `standardize`.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            The candidate sets: a 0/1 or bool mask, non-negative weights, one collection
            of labels per row, or one label per row; None or NaN for an unknown label.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a row has no candidate, X holds NaN, or a parameter is out of range.
        TypeError
            If a parameter is of the wrong type.
        """
        self._check_params()
        data = self._check_fit(X, y)
        epochs = n_epochs(self.max_epochs, len(data.X), self.batch_size)
        task = FitTask(self, X, y, epochs)
        seed = fit_seed(self.random_state)
        device = self._device()

        scaler = fit_standardizer(data, self.standardize)
        Z = torch.as_tensor(scaler(data.X), device=device)
        V = torch.as_tensor(data.relative_weights(), dtype=Z.dtype, device=device)
        loss = type(self)._make_loss(V.log())
        network = self._make_network(Z.shape[1], seed).to(device)
        listener = task.listener(
            lambda trainer: _learnt(scaler, trainer.averaged_module())
        )
        trainer = self._make_trainer(network, loss, Z, seed, epochs, listener)

        def finish() -> None:
            losses = enumerate(trainer.losses)
            self._finish_fit(
                _learnt(scaler, trainer.averaged_module())
                | {
                    "history_": [{"epoch": e, "loss": v} for e, v in losses],
                    "n_iter_": trainer.n_epochs,
                }
            )
            self.label_distribution_ = self._probabilities(Z, V.log())

        name = type(self).__name__
        with (
            kept_if_interrupted(self, finish, trainer.has_learnt),
            tqdm(total=epochs, desc=name, disable=no_bar(self.verbose)) as bar,
        ):
            train_in_stages(trainer, epochs, bar.update)
        finish()
        task.end()
        return self

    def _check_params(self) -> None:
        super()._check_params()
        check_widths("hidden", self.hidden)
        check_number("batch_size", self.batch_size, 1, integer=True)
        check_number("weight_decay", self.weight_decay, 0)
        check_standardize(self.standardize)

    def _make_network(self, n_features: int, seed: int = 0) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        return mlp(n_features, layer_widths(self.hidden), len(self.classes_), generator)

    def _make_trainer(
        self,
        network: nn.Module,
        loss: SetLoss,
        Z: Tensor,
        seed: int,
        epochs: int,
        listener: EpochListener | None,
    ) -> Trainer:
        return Trainer(
            network,
            lambda module, rows: loss(module(Z[rows]), rows),
            len(Z),
            torch.Generator(Z.device).manual_seed(seed),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            ema=EMA,
            planned_updates=epochs * n_batches(len(Z), self.batch_size),
            listener=listener,
            tables=loss.tables,
        )

    def _build(self, device: torch.device) -> nn.Module:
        with without_values():
            network = self._make_network(self.n_features_in_)
        return load_arrays(network, self.network_, device)

    @torch.inference_mode()
    def _probabilities(self, Z: Tensor, log_v: Tensor) -> NDArray[np.float32]:
        """Softmax of the network's answers times v. (n, p), (n, C) -> (n, C)."""
        proba = in_blocks(lambda z, v: (self._model(z) + v).softmax(1), Z, log_v)
        return proba.cpu().numpy()

    def _predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        Z = torch.as_tensor(Standardizer(**self.scaler_)(X), device=self._device())
        return self._probabilities(Z, Z.new_zeros((len(Z), len(self.classes_))))


def _learnt(scaler: Standardizer, network: nn.Module) -> dict[str, Any]:
    """Fitted attributes that prediction needs."""
    return {
        "scaler_": vars(scaler),
        "network_": state_arrays(network),
    }


class PRODENClassifier(_SetLossClassifier):
    r"""Progressive identification of the true label by a network (PRODEN).

    Assumes that the true label of a row is among its candidates, and that the network
    learns what rows have in common before it learns their wrong candidates.

    Parameters
    ----------
    hidden : int or tuple of int, default=(256,)
        Widths of the hidden layers; () is a linear model.
    max_epochs : int or "auto", default="auto"
        Passes over the training rows. "auto" is 200, or fewer where that is more than
        3000 updates.
    batch_size : int, default=256
        Rows in an update.
    learning_rate : float, default=1e-3
        Peak rate of AdamW.
    weight_decay : float, default=0.01
        Weight decay of AdamW.
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
        The sets trained on: True where the class is a candidate of the training row.
    label_distribution_ : ndarray of shape (n_samples, n_classes), float32
        Beliefs of the trained network over the candidates of each training row; exactly
        0 off the candidates.
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
    CCClassifier : The same network, with beliefs inside the loss.

    Notes
    -----
    The loss of a row is :math:`-\sum_{j} w_{ij} \log p_j(x_i)` [1]_. The beliefs start
    uniform on the candidates and are set anew whenever the row was in an update,

    .. math:: w_{ij} = v_{ij} p_j(x_i) / \textstyle\sum_l v_{il} p_l(x_i) ,

    where :math:`v_{ij}` is 1 for candidates and 0 otherwise. Soft weights, which the
    paper does not know, take the place of v. A row with one candidate is trained on
    by plain cross-entropy.

    The optimiser is that of `DDMPClassifier`: AdamW with clipped gradients, a warm-up,
    a rate that falls over the last fifth, and averaged weights. The paper has SGD.

    References
    ----------
    .. [1] J. Lv, M. Xu, L. Feng, G. Niu, X. Geng, M. Sugiyama, "Progressive
           Identification of True Labels for Partial-Label Learning", ICML 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff.baselines import PRODENClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.3, random_state=0)
    >>> clf = PRODENClassifier(random_state=0).fit(X, sets)
    >>> bool((clf.predict(X) == y).mean() > 0.9)
    True
    """

    _make_loss = ProgressiveLoss


class CCClassifier(_SetLossClassifier):
    r"""Network trained by the classifier-consistent loss on candidate sets (CC).

    Assumes that the true label of a row is among its candidates, and that the set was
    drawn uniformly from all sets that hold it.

    Parameters
    ----------
    hidden : int or tuple of int, default=(256,)
        Widths of the hidden layers; () is a linear model.
    max_epochs : int or "auto", default="auto"
        Passes over the training rows. "auto" is 200, or fewer where that is more than
        3000 updates.
    batch_size : int, default=256
        Rows in an update.
    learning_rate : float, default=1e-3
        Peak rate of AdamW.
    weight_decay : float, default=0.01
        Weight decay of AdamW.
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
        The sets trained on: True where the class is a candidate of the training row.
    label_distribution_ : ndarray of shape (n_samples, n_classes), float32
        Beliefs of the trained network over the candidates of each training row; exactly
        0 off the candidates.
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
    PRODENClassifier : The same network, with beliefs that lag behind it.

    Notes
    -----
    The loss of a row is [1]_

    .. math:: -\log \textstyle\sum_j v_{ij} p_j(x_i) ,

    where :math:`v_{ij}` is 1 for candidates and 0 otherwise. Soft weights, which the
    paper does not know, take the place of v, divided by the largest of the row. An
    unlabelled row has loss 0 and teaches nothing.

    The optimiser is that of `DDMPClassifier`: AdamW with clipped gradients, a warm-up,
    a rate that falls over the last fifth, and averaged weights. The paper has Adam.

    References
    ----------
    .. [1] L. Feng, J. Lv, B. Han, M. Xu, G. Niu, X. Geng, B. An, M. Sugiyama, "Provably
           Consistent Partial-Label Learning", NeurIPS 2020.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff.baselines import CCClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.3, random_state=0)
    >>> clf = CCClassifier(random_state=0).fit(X, sets)
    >>> bool((clf.predict(X) == y).mean() > 0.9)
    True
    """

    _make_loss = ConsistentLoss
