"""DDMPClassifier: candidate sets disambiguated by a diffusion over label vectors."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from tqdm.auto import tqdm

from sklabeldiff._arrays import without_values
from sklabeldiff._callbacks import FitTask
from sklabeldiff._checkpoint import Checkpoint
from sklabeldiff._ddmp_predictor import FIELDS, Predictor, predictor_arrays
from sklabeldiff._ddmp_sets import Sets, sets_of
from sklabeldiff._fitting import (
    CALLER_OF_FIT,
    fit_seed,
    kept_if_interrupted,
    no_bar,
    whole_fit,
)
from sklabeldiff._parameters import (
    MAX_WIDTH,
    check_number,
    check_option,
)
from sklabeldiff._standardize import (
    check_standardize,
    fit_standardizer,
    scaled_rows,
)
from sklabeldiff._training_data import SparseTrainingData, TrainingData
from sklabeldiff.base import NetworkClassifier
from sklabeldiff.core.denoisers import DENOISERS, Denoiser, make_denoiser
from sklabeldiff.core.graph import edge_weights
from sklabeldiff.core.kernels import KernelBeliefs
from sklabeldiff.core.label_diffusion import (
    LabelDiffusion,
    LabelDiffusionTraining,
    LabelScale,
    RefreshRule,
)
from sklabeldiff.core.process import GaussianProcess
from sklabeldiff.core.rows import Rows
from sklabeldiff.core.scaling import Standardizer
from sklabeldiff.core.schedules import make_schedule
from sklabeldiff.core.training import BatchLoss, EpochListener, Trainer, n_batches
from sklabeldiff.neighbors import check_neighbors, search_by

# max_epochs="auto": so many updates a row, within these bounds, and at least so many
# passes over a large table.
MIN_UPDATES, MAX_UPDATES, UPDATES_PER_ROW, MIN_EPOCHS = 75, 1000, 0.2, 2
FULL_BATCH_ROWS = 512  # a table smaller than this is one batch
EMA = 0.99
WEIGHT_DECAY = 0.01
# How much of the network's correction of a kernel prior mean is believed. It has seen
# the training rows' own labels, the prior mean has not: all of it lowered held-out
# accuracy on Lost and MSRCv2, half of it raised it on most tables.
PRIOR_TRUST = 0.5
MAX_TIMESTEPS = 10_000  # schedules are kept step by step
HIGH_EPS_LOSS = 0.5  # a network that outputs 0 has loss 1

# The literal reading of an incompletely known paper (methods page, section 12).
PAPER = {
    "n_propagations": 1,
    "network": "attention",
    "refresh": "inverse",
    "gate": 0.0,
    "prior_mean": "zero",
    "prediction": "eps",
}


class DDMPClassifier(NetworkClassifier):
    r"""Diffusion disambiguation model for partial-label learning (DDMP).

    Every training row comes with a set of candidate labels, one of which is assumed to
    be true. Beliefs over the candidates start from neighbours and a leave-one-out
    kernel smoother; a diffusion over label vectors, conditioned on the features, is
    trained on them and refreshes them; it is also the classifier.

    Parameters
    ----------
    n_neighbors : int, default=10
        Neighbours of each row in the graph of the first beliefs.
    neighbors : {"auto", "exact"}, transformer or sparse matrix, default="auto"
        How they are searched: by comparing all pairs, or by a transformer such as
        scikit-learn's ``KNeighborsTransformer`` or
        :class:`~sklabeldiff.neighbors.ApproximateNeighbors`, whose ``n_neighbors`` is
        set. "auto" compares up to 100 000 rows, and approximates above (extra ``ann``).
        Or distances between the training rows, as such a transformer gives them,
        (n_samples, n_samples), with at least `n_neighbors` in each row.
    label_similarity : {"jaccard"} or None, default="jaccard"
        Whether neighbours with unlike candidate sets lose influence.
    n_propagations : int, default=10
        Passes of beliefs over the graph. 0 starts from equal belief.
    prior_mean : {"kernel", "zero"}, default="kernel"
        Centre of the noise end of the diffusion. "kernel" also refines the first
        beliefs by kernel smoothers that answer for each row without its own label,
        chosen by the likelihood of held-out candidate sets; their answer is the
        centre. "zero" leaves both out.
    target : {"sharp", "soft", "hard", "sample"}, default="sharp"
        What the diffusion learns to generate from beliefs S: their squares,
        themselves, their argmax, or a label drawn anew at each step.
    network : {"gated", "attention"}, default="gated"
        Denoiser: gated layers (fast), or cross-attention between classes and features
        (the paper's description).
    hidden : int, default=128
        Width of the denoiser.
    prediction : {"x0", "eps"}, default="x0"
        What the denoiser predicts: the clean labels, or the noise, which takes far
        more training.
    n_timesteps : int, default=100
        Steps of the forward diffusion.
    schedule : {"cosine", "linear"}, default="cosine"
        Noise schedule.
    n_sampling_steps : int, default=10
        Reverse diffusion steps taken to predict. Time grows linearly with it.
    refresh : {"bayes", "inverse"} or None, default="bayes"
        How beliefs are refreshed from the model and a transition matrix: by a tempered
        posterior, by the inverse matrix (the literal reading), or not at all.
    gamma : float, default=0.3
        Trust in the transition matrix, in the kernel smoothers and in "bayes", in
        [0, 1].
    eta : float, default=0.5
        Share of the new beliefs in a refresh, in [0, 1].
    gate : float, default=0.9
        Only rows in which the model holds one candidate more probable than this are
        refreshed, in [0, 1]. 0 refreshes all, and also drops the guard that model and
        beliefs must agree.
    max_epochs : int or "auto", default="auto"
        Passes over the training rows. "auto" is 75 to 1000 updates, growing with the
        table. Half of them learn (fewer once loss and beliefs have settled), then
        refreshes come, and the learning rate decays over the last fifth.
    batch_size : int, default=256
        Rows in an update. Tables of fewer than 512 rows are one batch.
    learning_rate : float, default=1e-3
        Peak rate of AdamW.
    standardize : {"auto", "standard", "rows"} or None, default="auto"
        "standard" gives columns mean 0 and variance 1, "rows" then scales rows to equal
        norm, "auto" does that where it makes the candidate sets of near rows more
        alike.
    preset : {"paper"} or None, default=None
        "paper" overrides `n_propagations`, `network`, `refresh`, `gate`, `prior_mean`
        and `prediction` by the literal reading of the paper, for comparison.
    classes : array-like of shape (n_classes,), default=None
        All labels, where `y` may lack some, in the order of ``classes_``.
    missing_label : int, float, str or None, default=None
        A value of `y` that marks an unlabelled row, besides None and NaN.
    device : str, default="auto"
        Torch device; "auto" is a GPU where there is one.
    checkpoint_dir : str, Path or None, default=None
        Folder in which a fit leaves its state after each tenth of the work. A fit with
        the same data and parameters that finds it goes on from there, to the same
        result; when done it removes it.
    random_state : int, RandomState instance or None, default=None
        The only source of randomness. Equal seeds give equal models on a CPU.
    verbose : int, default=0
        Shows a progress bar if positive.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The user's labels.
    candidate_sets_ : ndarray or csr_array of shape (n_samples, n_classes), bool
        The sets trained on: True where the class is a candidate of the training row.
        Sparse, as the next three, with more than 200 classes if at most a tenth of all
        entries are candidates.
    label_distribution_ : ndarray or csr_array of shape (n_samples, n_classes), float32
        Beliefs over the candidates of each training row after training; exactly 0 off
        the candidates.
    initial_label_distribution_ : ndarray or csr_array, of the same shape, float32
        The same before training.
    transition_matrix_ : ndarray or csr_array of shape (n_classes, n_classes), float32
        Entry (i, j): share of rows of class i that have candidate j, among those that
        may not be any class. Diagonal 1. A sparse one has the pairs that occur; those
        that it lacks are small, not impossible.
    kernels_ : list of dict
        The settings of the kernel smoothers that were chosen.
    row_scaling_ : bool
        Whether rows are scaled to equal norm.
    history_ : list of dict
        Loss, and for each refresh: agreement of model and beliefs, whether it was
        carried out, entropy of the beliefs.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Number of columns of `X`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where `X` has names that are strings.

    See Also
    --------
    sklabeldiff.baselines.KernelPropagationClassifier : The kernel yardstick, without
        diffusion.
    sklabeldiff.baselines.PLKNNClassifier : Votes of neighbours; no training.
    CandidateBinarizer : Makes the 0/1 matrix from candidate sets.

    Notes
    -----
    Labels are noised as :math:`S_t = \sqrt{\bar\alpha_t} S_0 +
    (1 - \sqrt{\bar\alpha_t}) f + \sqrt{1 - \bar\alpha_t} \epsilon` [1]_ [2]_, the
    reverse chain (DDIM) starts at the prior mean f, and the class nearest to 1 wins.

    The full paper was not available. Stated by it: the forward process, the graph and
    the Jaccard similarity, the refresh by a transition matrix and its inverse, the
    cross-attention. Reconstructed by us: how graph and similarity are combined, the
    number of passes, sharpening, the tempered refresh rule and its guards, when to
    refresh, all sizes. Added by us, and not in the paper: the kernel smoother, the
    prediction of clean labels, the choice of row scaling.

    Probabilities are not calibrated; `CandidateCalibratedClassifier` tempers them.

    References
    ----------
    .. [1] J. Fan et al., "Diffusion Disambiguation Models for Partial Label Learning",
           arXiv:2507.00411, 2025.
    .. [2] X. Han, H. Zheng, M. Zhou, "CARD: Classification and Regression Diffusion
           Models", NeurIPS 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff import DDMPClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.5, random_state=0)
    >>> clf = DDMPClassifier(random_state=0).fit(X, sets)
    >>> bool((clf.predict(X) == y).mean() > 0.9)
    True
    """

    _shaping = (
        *("network", "hidden", "prediction", "prior_mean", "n_timesteps", "schedule"),
        *("n_sampling_steps", "preset"),
    )
    _fields: ClassVar = NetworkClassifier._fields | FIELDS

    def __init__(
        self,
        n_neighbors: int = 10,
        *,
        neighbors: Any = "auto",
        label_similarity: str | None = "jaccard",
        n_propagations: int = 10,
        prior_mean: str = "kernel",
        target: str = "sharp",
        network: str = "gated",
        hidden: int = 128,
        prediction: str = "x0",
        n_timesteps: int = 100,
        schedule: str = "cosine",
        n_sampling_steps: int = 10,
        refresh: str | None = "bayes",
        gamma: float = 0.3,
        eta: float = 0.5,
        gate: float = 0.9,
        max_epochs: int | str = "auto",
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        standardize: str | None = "auto",
        preset: str | None = None,
        classes: ArrayLike | None = None,
        missing_label: Any = None,
        device: str = "auto",
        checkpoint_dir: str | Path | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.neighbors = neighbors
        self.label_similarity = label_similarity
        self.n_propagations = n_propagations
        self.prior_mean = prior_mean
        self.target = target
        self.network = network
        self.hidden = hidden
        self.prediction = prediction
        self.n_timesteps = n_timesteps
        self.schedule = schedule
        self.n_sampling_steps = n_sampling_steps
        self.refresh = refresh
        self.gamma = gamma
        self.eta = eta
        self.gate = gate
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.standardize = standardize
        self.preset = preset
        self.classes = classes
        self.missing_label = missing_label
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

    @whole_fit
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Disambiguate the candidate sets and train the classifier.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Features; scaled inside, see `standardize`. Of a memory map of 128 MB or
            more rows are read when they are needed.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            The candidate sets: a 0/1 or bool mask, non-negative weights, one collection
            of labels per row, or one label per row; None or NaN for an unknown label.

        Returns
        -------
        self : DDMPClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If a row has no candidate, X holds NaN, or a parameter is out of range.
        TypeError
            If a parameter is of the wrong type.

        Warns
        -----
        ConvergenceWarning
            If the loss is still high at the end, or a class lost its belief mass.
        """
        self._check_params()
        data = self._check_sparse_fit(X, y)
        task = FitTask(self, X, y, self._n_epochs(len(data.X)))
        seed = fit_seed(self.random_state)
        generator = torch.Generator().manual_seed(seed)
        device = self._device()

        scaler = fit_standardizer(data, self.standardize, self.n_neighbors)
        c = scaled_rows(data.X, scaler, device)
        sets = sets_of(data, device)
        S = self._graph_beliefs(c, sets, seed)
        kernel, S, f = self._kernel_beliefs(c, sets, S, generator)

        n_classes = len(self.classes_)
        denoiser = self._make_denoiser(c.shape[1], n_classes, generator)
        model = self._make_model(denoiser.to(device), n_classes, device)
        listener = task.listener(lambda _: self._learnt(scaler, kernel, sets, training))
        training = sets.training(
            model,
            lambda loss: self._make_trainer(model, loss, len(c), seed, listener),
            *(S, c, f),
            self.target,
            self._refresh_rule(),
        )

        def finish() -> None:
            self._finish_fit(self._learnt(scaler, kernel, sets, training))

        with kept_if_interrupted(self, finish, training.trainer.has_learnt):
            checkpoint = self._train(training, data, seed)
        finish()
        checkpoint.remove()
        task.end()
        _warn(self.history_, model.process.prediction)
        return self

    # -- the steps of fit, in order ------------------------------------------------

    def _setting(self, name: str) -> Any:
        """Value of a parameter, as the preset has it."""
        if self.preset == "paper" and name in PAPER:
            return PAPER[name]
        return getattr(self, name)

    def _check_params(self) -> None:
        super()._check_params()
        check_option("label_similarity", self.label_similarity, ("jaccard", None))
        check_option("prior_mean", self.prior_mean, ("kernel", "zero"))
        check_option("target", self.target, ("sharp", "soft", "hard", "sample"))
        check_option("network", self.network, tuple(DENOISERS))
        check_option("prediction", self.prediction, ("x0", "eps"))
        check_option("schedule", self.schedule, ("cosine", "linear"))
        check_option("refresh", self.refresh, ("bayes", "inverse", None))
        check_standardize(self.standardize)
        check_neighbors(self.neighbors)
        check_option("preset", self.preset, ("paper", None))
        check_number("hidden", self.hidden, 1, MAX_WIDTH, integer=True)
        for name in ("n_neighbors", "n_sampling_steps", "batch_size"):
            check_number(name, getattr(self, name), 1, integer=True)
        check_number("n_timesteps", self.n_timesteps, 1, MAX_TIMESTEPS, integer=True)
        check_number("n_propagations", self.n_propagations, 0, integer=True)
        for name in ("gamma", "eta", "gate"):
            check_number(name, getattr(self, name), 0, 1)

    def _graph_beliefs(self, c: Rows, sets: Sets, seed: int) -> Tensor:
        """S after passes over the graph. Section 3 of the method page."""
        n_passes = self._setting("n_propagations")
        if n_passes == 0:
            return sets.equal_beliefs()
        distances, neighbours = search_by(self.neighbors, seed)(c, self.n_neighbors)
        similarity = None
        if self.label_similarity == "jaccard":
            similarity = sets.similarity(neighbours)
        W = edge_weights(distances, neighbours, similarity)
        del distances, neighbours, similarity  # as large as the graph
        return sets.propagated(W, n_passes)

    def _kernel_beliefs(
        self, c: Rows, sets: Sets, S: Tensor, generator: torch.Generator
    ) -> tuple[KernelBeliefs | None, Tensor, Any]:
        """Fit the smoothers; S after their passes, prior means of the training rows."""
        if self._setting("prior_mean") == "zero":
            return None, S, sets.no_prior(S)
        return sets.smoothed(c, S, self.gamma, generator)

    def _make_denoiser(
        self, n_features: int, n_classes: int, generator: torch.Generator
    ) -> Denoiser:
        return make_denoiser(
            self._setting("network"),
            n_features,
            n_classes,
            self.n_timesteps,
            self.hidden,
            generator,
        )

    def _make_model(
        self, denoiser: Denoiser, n_classes: int, device: torch.device
    ) -> LabelDiffusion:
        schedule = make_schedule(self.schedule, self.n_timesteps)
        prediction = self._setting("prediction")
        scale = LabelScale.of(n_classes)
        process = GaussianProcess(
            schedule, prediction, x0_range=scale.range, device=device
        )
        shrink = prediction == "x0" and self._setting("prior_mean") == "kernel"
        trust = PRIOR_TRUST if shrink else 1.0
        return LabelDiffusion(denoiser, process, self.n_sampling_steps, trust, scale)

    def _make_trainer(
        self,
        model: LabelDiffusion,
        loss: BatchLoss,
        n_rows: int,
        seed: int,
        listener: EpochListener | None = None,
    ) -> Trainer:
        generator = torch.Generator(self._device()).manual_seed(seed)
        return Trainer(
            model.denoiser,
            loss,
            n_rows,
            generator,
            batch_size=self._batch_size(n_rows),
            learning_rate=self.learning_rate,
            weight_decay=WEIGHT_DECAY,
            ema=EMA,
            planned_updates=self._n_updates(n_rows),
            listener=listener,
        )

    def _batch_size(self, n_rows: int) -> int:
        return self.batch_size if n_rows >= FULL_BATCH_ROWS else n_rows

    def _n_epochs(self, n_rows: int) -> int:
        """Return max_epochs, with a number for "auto"."""
        if self.max_epochs != "auto":
            return int(self.max_epochs)
        per_epoch = n_batches(n_rows, self._batch_size(n_rows))
        return max(MIN_EPOCHS, -(-self._n_updates(n_rows) // per_epoch))

    def _n_updates(self, n_rows: int) -> int:
        """Count the updates that max_epochs="auto" foresees."""
        return int(np.clip(UPDATES_PER_ROW * n_rows, MIN_UPDATES, MAX_UPDATES))

    def _refresh_rule(self) -> RefreshRule:
        return RefreshRule(
            self._setting("refresh"), self.gamma, self.eta, self._setting("gate")
        )

    def _train(
        self,
        training: LabelDiffusionTraining,
        data: TrainingData | SparseTrainingData,
        seed: int,
    ) -> Checkpoint:
        """Train, from a checkpoint if there is one; it is kept: more is to come."""
        params = self.get_params(deep=False) | {"random_state": seed}
        params["device"] = self._device().type  # of whose generator the state is
        for name in ("checkpoint_dir", "verbose"):
            del params[name]
        checkpoint = Checkpoint(self.checkpoint_dir, data.arrays(), params)
        state = checkpoint.load(self._device())
        if state is not None:
            training.restore(state)
        epochs = self._n_epochs(len(data.X))
        bar = tqdm(
            total=epochs, desc="DDMP", unit="epoch", disable=no_bar(self.verbose)
        )

        def after_stage(epochs: int) -> None:
            bar.update(epochs)
            checkpoint.save(training.state())

        with bar:
            training.run(epochs, after_stage)
        return checkpoint

    def _learnt(
        self,
        scaler: Standardizer,
        kernel: KernelBeliefs | None,
        sets: Sets,
        training: LabelDiffusionTraining,
    ) -> dict[str, Any]:
        """Fitted attributes: what training has come to."""
        S, trainer = training.progress.S, training.trainer
        if S is training.S0:  # never refreshed; whoever edits one keeps the other
            S = S.clone()
        return {
            "label_distribution_": sets.array(S),
            "initial_label_distribution_": sets.array(training.S0),
            "transition_matrix_": sets.transition(S),
            "history_": list(training.progress.history),
            "n_iter_": trainer.n_epochs,
            "row_scaling_": scaler.equal_norm,
            "kernels_": [] if kernel is None else [vars(k) for k in kernel.choices],
            "model_state_": predictor_arrays(scaler, kernel, trainer.averaged_module()),
        }

    # -- prediction ----------------------------------------------------------------

    def denoising_path(
        self, X: ArrayLike
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """How the label of each row takes shape in the reverse diffusion.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, of which a few are enough to look at.

        Returns
        -------
        steps : ndarray of shape (n_states,), int64
            Diffusion step of each state: from `n_timesteps` down to 0.
        states : ndarray of shape (n_samples, n_states, n_classes), float32
            Label vectors, from the prior mean of the row to the answer, whose entry
            nearest to 1 is the predicted class.

        See Also
        --------
        sklabeldiff.plotting.DenoisingPathDisplay : Draws them.
        """
        return self._model.path(self._checked(X))

    def _build(self, device: torch.device) -> Predictor:
        """Put the fitted arrays back into the objects that predict."""
        n_classes = len(self.classes_)
        with without_values():
            denoiser = self._make_denoiser(
                self.n_features_in_, n_classes, torch.Generator()
            )
        return Predictor.from_arrays(
            self.model_state_,
            self._make_model(denoiser, n_classes, device),
            n_classes,
            self.row_scaling_,
            self.kernels_,
            device,
        )

    def _predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        return self._model(X)


def _warn(history: list[dict[str, Any]], prediction: str) -> None:
    """Warn of a loss that stayed high and of collapsed classes."""
    losses = [log["loss"] for log in history if "loss" in log]
    if prediction == "eps" and losses and losses[-1] > HIGH_EPS_LOSS:
        warnings.warn(
            f"The denoising loss is still {losses[-1]:.2f}, where 1 is no better than "
            "chance. Raise max_epochs, or use prediction='x0'.",
            ConvergenceWarning,
            stacklevel=CALLER_OF_FIT,
        )
    if any(log.get("collapse") for log in history):
        warnings.warn(
            "A refresh would have emptied a class, so the beliefs were kept as they "
            "were. Lower gamma or eta, or raise gate.",
            ConvergenceWarning,
            stacklevel=CALLER_OF_FIT,
        )
