"""DTMClassifier: wrong labels undone by transition matrices that a diffusion draws."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from sklabeldiff._arrays import state_arrays, without_values
from sklabeldiff._callbacks import FitTask, Snapshot
from sklabeldiff._checkpoint import Checkpoint, Stages
from sklabeldiff._dtm_predictor import (
    FIELDS,
    Predictor,
    group_attributes,
    predictor_arrays,
)
from sklabeldiff._final_classifier import (
    check_classifier,
    copy_module,
    fit_weighted,
    is_sklearn,
    weighted_proba,
)
from sklabeldiff._fitting import (
    CALLER_OF_FIT,
    fit_seed,
    kept_if_interrupted,
    no_bar,
    whole_fit,
)
from sklabeldiff._groups import find_groups, nearest_group
from sklabeldiff._parameters import (
    check_number,
    check_option,
    check_widths,
    layer_widths,
)
from sklabeldiff._standardize import check_standardize, fit_standardizer
from sklabeldiff._training_data import TrainingData
from sklabeldiff._wrong_labels import check_given, warn_of_noise
from sklabeldiff.base import NetworkClassifier
from sklabeldiff.core.group_transitions import is_labelled
from sklabeldiff.core.layers import mlp
from sklabeldiff.core.matrix_denoisers import MATRIX_DENOISERS
from sklabeldiff.core.noisy_classifier import label_posterior
from sklabeldiff.core.noisy_training import (
    InterruptedTraining,
    WatchedTraining,
    network_proba,
    split_rows,
    train_forward,
)
from sklabeldiff.core.scaling import Standardizer
from sklabeldiff.core.schedules import LINEAR_STEPS
from sklabeldiff.core.sparse_transitions import SparseTransitions
from sklabeldiff.core.training import Trainer
from sklabeldiff.core.transition_diffusion import (
    GENERATORS,
    GeneratorSettings,
    TransitionGenerator,
)
from sklabeldiff.core.transition_estimation import (
    SOURCES,
    FirstNetwork,
    TransitionEstimation,
    best_source,
    train_generator,
)

N_STAGES = 4  # with trainings, of which callbacks are told
GROUPS_PER_CLASS, ROWS_PER_GROUP = 10, 20  # K = min(10 C, n / 20)
# Of the group matrices: 1 GB, and a few times that while components are found.
MAX_TABLE_ENTRIES = 2**28
MAX_FULL_CLASSES = 200
REPRESENTATIONS = ("auto", "pca", "full", "sparse")
GROUP_ATTRIBUTES = ("group_transition_matrices_", "group_transition_rows_")
MAX_DENSE_CLASSES = 100  # of representation="auto"
# Seeds, counted from the one of the fit; 1, 2, 5 and 6 belong to the generator.
CLASSIFIER_SEED, RESAMPLE_SEED = 3, 4


class DTMClassifier(NetworkClassifier):
    r"""Instance-dependent transition matrices from a diffusion, for noisy labels (DTM).

    Every training row comes with one label that may be wrong, in a way that may depend
    on the row; or with a candidate set that may lack the true label. Assumes that in
    every region of the data the right label is more frequent than any single wrong
    one. Rows are grouped, each group gets a matrix of flip probabilities, a diffusion
    conditioned on the features turns these into a matrix for every row, and a
    classifier of the true labels is trained through it.

    Parameters
    ----------
    n_groups : int or "auto", default="auto"
        Groups found by K-means. "auto" is ten a class, and at most one for 20 rows.
    group_estimator : {"dirichlet", "volmin"}, default="dirichlet"
        How group matrices are found: expected counts shrunk to the global matrix, or
        by gradient descent from the global matrix (the literal reading).
    responsibility_source : {"auto", "majority", "smoother", "model"}, default="auto"
        Whose word the counts take for the true class of a row: the most frequent label
        of its group, the labels of near rows, or the first network's. "auto" tries all
        three for a third of the epochs and keeps the one that makes held-out labels
        most likely; "majority", unless another does so by more than a standard error.
        Without effect where `group_estimator` is "volmin".
    kappa : float, default=10.0
        Rows that the global matrix counts for in each class of a group.
    volume_penalty : float, default=1e-4
        Weight of log|det T| in the search for the global matrix (VolMinNet).
    generator : {"diffusion", "regression", "group"}, default="diffusion"
        Where a row's matrix comes from: draws of the diffusion, a regression with the
        same network, or its group's matrix as it is.
    network : {"mlp", "unet", "axial"}, default="mlp"
        Denoiser of matrices.
    representation : {"auto", "pca", "full", "sparse"}, default="auto"
        What is diffused: principal coordinates of the group matrices, or all entries,
        of up to 200 classes. "sparse", for many classes, keeps of a group's matrix the
        rows that differ from the global one, and takes a draw for the group whose
        coordinates are nearest. "auto" is "full" for networks other than "mlp", which
        need it; else "pca" up to 100 classes and, unless `group_estimator` is "volmin",
        "sparse" above.
    prediction : {"x0", "eps"}, default="x0"
        What the denoiser predicts: the clean matrix, or the noise.
    n_timesteps : int, default=10
        Steps of the diffusion, up to 1000.
    schedule : {"respaced", "paper"}, default="respaced"
        Noise schedule: equally spaced steps of the usual thousand; or the printed one,
        which does not reach noise, so that draws start from the group's matrix.
    n_draws : int, default=8
        Matrices drawn for a row, and averaged.
    resample : bool, default=False
        Whether the classifier sees fresh draws in every update, rather than the same
        average. Slow.
    classifier : torch module or scikit-learn classifier, default=None
        What is trained last, on standardised rows. None is a perceptron of `hidden`
        layers. A copy of a module is trained through the matrices; it maps
        (n_samples, n_features) to (n_samples, n_classes) scores. Dropout in it draws
        from torch's global generator: seed that for equal fits. A scikit-learn
        classifier needs ``sample_weight``: it is fitted to every class of every row,
        weighted by the corrected beliefs of the perceptron, and sees classes as 0, 1,
        ...; predictions are its own, training beliefs those of the perceptron.
    hidden : int or tuple of int, default=(256, 256)
        Widths of the hidden layers of the perceptrons; () is a linear model.
    max_epochs : int or "auto", default="auto"
        Passes over the training rows in the first and the last training; a third of
        them for each trial of `responsibility_source`, twice as many for the diffusion.
        "auto" is what 500 updates take, from 20 to 100.
    batch_size : int, default=256
        Rows in an update.
    learning_rate : float, default=1e-3
        Peak rate of AdamW.
    validation_fraction : float or "per_class", default=0.1
        Share of the labelled rows that are not trained on, by which epochs and
        `responsibility_source` are chosen; in [0, 0.5]. "per_class" holds out ten rows
        of each given class, as in the paper.
    standardize : {"auto", "standard", "rows"} or None, default="auto"
        "standard" gives columns mean 0 and variance 1, "rows" then scales rows to equal
        norm, "auto" does that where it makes the labels of near rows more
        alike.
    classes : array-like of shape (n_classes,), default=None
        All labels, in the order of ``classes_``.
    missing_label : int, float, str or None, default=None
        A value of `y` that marks an unlabelled row, besides None and NaN.
    device : str, default="auto"
        Torch device; "auto" is a GPU where there is one.
    checkpoint_dir : str, Path or None, default=None
        Folder in which a fit leaves each finished stage. A fit with the same data and
        parameters goes on from there, to the same result; when done it removes it.
    random_state : int, RandomState instance or None, default=None
        The only source of randomness. Equal seeds give equal models on a CPU.
    verbose : int, default=0
        Shows progress bars if positive.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The user's labels.
    label_distribution_ : ndarray of shape (n_samples, n_classes), float32
        Beliefs about the true label of each training row, given its features and its
        label. Not confined to the label given.
    candidate_sets_ : ndarray of shape (n_samples, n_classes), bool
        What was given for the training rows.
    transition_matrix_ : ndarray of shape (n_classes, n_classes), float32
        Entry (i, j): share of rows of class i that were given j, over all rows.
    group_transition_matrices_ : ndarray of shape (n_groups, n_classes, n_classes)
        What the diffusion learnt from, float32: matrices as they were estimated. Not
        where `representation` is, or comes to, "sparse".
    group_transition_rows_ : dict of str to ndarray
        The same in that case. "overall", (n_classes, n_classes): the global matrix,
        float32; "rows", (n_kept, n_classes): rows in which groups differ from it, and
        "classes" and "groups", (n_kept,), int64: of which class and group they are.
    groups_ : ndarray of shape (n_samples,), int64
        Group of each training row.
    noise_rate_ : float
        Estimated share of labelled training rows whose true label was not given.
    responsibility_source_ : str
        The source that was used.
    estimator_ : classifier
        The fitted scikit-learn classifier, where `classifier` is one.
    row_scaling_ : bool
        Whether rows are scaled to equal norm.
    model_state_ : dict of str to ndarray
        Weights of the networks, matrices and scaling, which prediction is made from.
    history_ : list of dict
        "stage", "epoch" and mean "loss" of each epoch of each training, but for what
        is trained to find the group matrices.
    n_iter_ : int
        Epochs of the last training.
    n_features_in_ : int
        Number of columns of `X`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X has names that are strings.

    See Also
    --------
    sklabeldiff.baselines.VolMinNetClassifier : The first stage alone: one matrix for
        all rows.
    DDMPClassifier : For candidate sets that hold the true label.

    Notes
    -----
    With :math:`T_{ij}(x) = P(\text{given } j \mid \text{true } i, x)` and the
    classifier f, the loss of a row is :math:`-\log \sum_{j \in Y} (T(x)^\top f(x))_j`
    for its set Y of one or more labels [1]_: an unlabelled row has loss 0. The
    prediction is f(x) alone.

    Stated by the paper: K-means, one VolMinNet [2]_ matrix a group, the transform
    between weights and matrices (with column sums, which contradicts its own text: rows
    here), the conditional diffusion over weights, the loss. Reconstructed by us: a
    shared first network and shrinkage, since a group has too few rows to learn a matrix
    from alone; the respaced schedule, since the printed one does not reach noise;
    principal coordinates; the network; averaged draws. Added by us: responsibilities
    from the group's majority and from the kernel smoother, their choice by held-out
    labels, candidate sets, the prediction of clean weights.

    A group's matrix is all that the diffusion can learn about its rows, so that at best
    it smooths the groups. In our benchmarks it adds nothing to a regression, nor to the
    group's matrix itself, which ``generator="group"`` uses in half of the time.
    The transform cannot express a class that is more often given wrong than right.

    Probabilities are not calibrated.

    References
    ----------
    .. [1] "Estimating Transition Matrix with Diffusion Models for Instance-Dependent
           Label Noise", OpenReview zeNwOAcb4q, 2024.
    .. [2] X. Li, T. Liu, B. Han, G. Niu, M. Sugiyama, "Provably End-to-end Label-Noise
           Learning without Anchor Points", ICML 2021.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklabeldiff import DTMClassifier
    >>> from sklabeldiff.datasets import make_noisy_labels
    >>> X, y = load_wine(return_X_y=True)
    >>> noisy = make_noisy_labels(X, y, kind="parts", rate=0.3, random_state=1)
    >>> clf = DTMClassifier(random_state=0).fit(X, noisy)
    >>> bool((clf.predict(X) == y).mean() > (noisy == y).mean() + 0.1)
    True
    """

    candidate_sets_may_lack_truth = True

    _shaping = (
        *("classifier", "hidden", "generator", "network", "representation"),
        *("prediction", "schedule", "n_timesteps", "n_draws"),
    )
    _fields: ClassVar = NetworkClassifier._fields | FIELDS

    def __init__(
        self,
        n_groups: int | str = "auto",
        *,
        group_estimator: str = "dirichlet",
        responsibility_source: str = "auto",
        kappa: float = 10.0,
        volume_penalty: float = 1e-4,
        generator: str = "diffusion",
        network: str = "mlp",
        representation: str = "auto",
        prediction: str = "x0",
        n_timesteps: int = 10,
        schedule: str = "respaced",
        n_draws: int = 8,
        resample: bool = False,
        classifier: Any = None,
        hidden: int | tuple[int, ...] = (256, 256),
        max_epochs: int | str = "auto",
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        validation_fraction: float | str = 0.1,
        standardize: str | None = "auto",
        classes: ArrayLike | None = None,
        missing_label: Any = None,
        device: str = "auto",
        checkpoint_dir: str | Path | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_groups = n_groups
        self.group_estimator = group_estimator
        self.responsibility_source = responsibility_source
        self.kappa = kappa
        self.volume_penalty = volume_penalty
        self.generator = generator
        self.network = network
        self.representation = representation
        self.prediction = prediction
        self.n_timesteps = n_timesteps
        self.schedule = schedule
        self.n_draws = n_draws
        self.resample = resample
        self.classifier = classifier
        self.hidden = hidden
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.standardize = standardize
        self.classes = classes
        self.missing_label = missing_label
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

    @whole_fit
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Estimate the transition matrices and train the classifier through them.

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
        self : DTMClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If a class is never given to any row, matrices would not fit into memory,
            X holds NaN, or a parameter is out of range.
        TypeError
            If a parameter is of the wrong type, or `classifier` takes no
            ``sample_weight``.

        Warns
        -----
        UserWarning
            If `n_groups` is more than one for 20 rows, and is lowered.
        ConvergenceWarning
            If more than half of the labels seem wrong: which of two classes is the
            right one can then not be told.
        """
        self._check_params()
        data = self._check_fit(X, y)
        check_given(data, self.classes_)
        self._check_size(len(data.X))
        # Seeds of later stages count on from this one.
        seed = fit_seed(self.random_state, 2**31 - 10)
        device = self._device()
        with without_values():  # a module that does not fit is refused before work
            self._make_classifier()
        stages = Stages(self._checkpoint(data, seed), device)
        task = FitTask(self, X, y, N_STAGES)

        scaler = fit_standardizer(data, self.standardize)
        e = torch.as_tensor(scaler(data.X), device=device)
        V = torch.as_tensor(data.relative_weights(), dtype=e.dtype, device=device)
        n_groups = self._n_groups(len(e))
        (centroids,) = stages("groups", lambda: (find_groups(e, n_groups, seed),))
        g = nearest_group(e, centroids)
        training = self._training(V, seed)
        estimation = TransitionEstimation(
            *(e, V, g, len(centroids), training, partial(self._make_network, device)),
            sparse=self._representation() == "sparse",
        )
        first = FirstNetwork(
            *stages("first network", lambda: self._first_network(estimation, task))
        )
        source, *found = stages(
            "group matrices", lambda: self._group_matrices(estimation, first, task)
        )
        T_groups = SparseTransitions(*found) if estimation.sparse else found[0]
        generator = self._generator_settings().from_groups(
            T_groups, g, self.n_features_in_, seed
        )
        self._train_generator(generator, estimation, stages, task)
        c = generator.columns(e, g, V)
        learnt = partial(_learnt, scaler, generator, centroids)
        network = self._make_classifier(seed + CLASSIFIER_SEED).to(device)

        def finish() -> None:
            f = network_proba(network, e)
            q = label_posterior(f, c)
            T = estimation.overall(f, first.T0, self.kappa)
            fitted = {
                "label_distribution_": q.cpu().numpy(),
                "groups_": g.cpu().numpy(),
                "transition_matrix_": T.numpy(),
                "noise_rate_": float(1 - (q * (V > 0))[is_labelled(V)].sum(1).mean()),
                "responsibility_source_": source,
                "history_": history(stages),
                "n_iter_": len(stages.outcomes["classifier"][-1]),
            }
            fitted |= group_attributes(T_groups)
            for name in ("estimator_", *GROUP_ATTRIBUTES):  # of an earlier fit
                self.__dict__.pop(name, None)
            kept: nn.Module | None = network
            if is_sklearn(self.classifier):
                kept = None
                fitted["estimator_"] = fit_weighted(self.classifier, e, q, seed)
            self._finish_fit(fitted | learnt(kept))

        with kept_if_interrupted(self, finish, lambda: "classifier" in stages.outcomes):
            self._train_classifier(
                network, estimation, generator, c, stages, task, learnt
            )
        finish()
        stages.checkpoint.remove()
        task.end()
        warn_of_noise(self.noise_rate_)
        return self

    # -- the steps of fit, in order ------------------------------------------------

    def _check_params(self) -> None:
        super()._check_params()
        check_option("group_estimator", self.group_estimator, ("dirichlet", "volmin"))
        check_option(
            "responsibility_source", self.responsibility_source, ("auto", *SOURCES)
        )
        check_option("generator", self.generator, GENERATORS)
        check_option("network", self.network, tuple(MATRIX_DENOISERS))
        check_option("representation", self.representation, REPRESENTATIONS)
        check_option("prediction", self.prediction, ("x0", "eps"))
        check_option("schedule", self.schedule, ("respaced", "paper"))
        check_option("resample", self.resample, (True, False))
        check_standardize(self.standardize)
        for name in ("n_draws", "batch_size"):
            check_number(name, getattr(self, name), 1, integer=True)
        check_number("n_timesteps", self.n_timesteps, 1, LINEAR_STEPS, integer=True)
        check_widths("hidden", self.hidden)
        check_number("kappa", self.kappa, 0)
        check_number("volume_penalty", self.volume_penalty, 0)
        check_number("n_groups", self.n_groups, 1, integer=True, or_word="auto")
        check_number(
            "validation_fraction", self.validation_fraction, 0, 0.5, or_word="per_class"
        )
        if self.network != "mlp" and self.representation in ("pca", "sparse"):
            raise ValueError(
                f"network={self.network!r} works on whole matrices: leave "
                "representation at 'auto', or use network='mlp'."
            )
        if self.group_estimator == "volmin" and self.representation == "sparse":
            raise ValueError(
                "group_estimator='volmin' learns every entry of every matrix, of which "
                "representation='sparse' keeps a few rows. Use 'dirichlet', or leave "
                "representation at 'auto'."
            )
        check_classifier(self.classifier)

    def _check_size(self, n_rows: int) -> None:
        """Refuse matrices that are too large, and warn of groups that are too small."""
        C, n_groups = len(self.classes_), self._n_groups(n_rows)
        if self._representation() == "full" and C > MAX_FULL_CLASSES:
            raise ValueError(
                f"representation='full' with {C} classes diffuses {C**2} numbers a "
                f"row; it takes up to {MAX_FULL_CLASSES} classes. Use network='mlp' "
                "with representation='auto', which is 'sparse' then."
            )
        if C**2 > MAX_TABLE_ENTRIES:
            raise ValueError(
                f"{C} classes are too many: one matrix takes {4e-9 * C**2:.1f} GB. "
                "Merge classes that are rare or alike."
            )
        if self._representation() != "sparse" and n_groups * C**2 > MAX_TABLE_ENTRIES:
            raise ValueError(
                f"{n_groups} group matrices of {C} classes take "
                f"{4e-9 * n_groups * C**2:.1f} GB. Set n_groups to at most "
                f"{max(1, MAX_TABLE_ENTRIES // C**2)}."
            )
        if self.n_groups != "auto" and int(self.n_groups) > n_groups:
            warnings.warn(
                f"n_groups={self.n_groups} leaves fewer than {ROWS_PER_GROUP} of the "
                f"{n_rows} rows to a group; {n_groups} groups are used. Lower "
                "n_groups, or leave it at 'auto'.",
                UserWarning,
                stacklevel=CALLER_OF_FIT,
            )

    def _n_groups(self, n_rows: int) -> int:
        """Return how many groups to make: at most one for 20 rows."""
        most = max(1, n_rows // ROWS_PER_GROUP)
        if self.n_groups == "auto":
            C = len(self.classes_)
            wanted = min(GROUPS_PER_CLASS * C, most)
            if self._representation() == "sparse":
                return wanted
            return min(wanted, max(1, MAX_TABLE_ENTRIES // C**2))
        return min(int(self.n_groups), most)

    def _representation(self) -> str:
        if self.representation != "auto":
            return self.representation
        if self.network != "mlp":
            return "full"
        is_sparse = (
            len(self.classes_) > MAX_DENSE_CLASSES
            and self.group_estimator == "dirichlet"
        )
        return "sparse" if is_sparse else "pca"

    def _checkpoint(self, data: TrainingData, seed: int) -> Checkpoint:
        params = self.get_params(deep=False) | {"random_state": seed, "method": "DTM"}
        for name in ("checkpoint_dir", "verbose", "device"):
            del params[name]
        arrays = data.arrays()
        if isinstance(self.classifier, nn.Module):
            arrays += state_arrays(self.classifier).values()
        return Checkpoint(self.checkpoint_dir, arrays, params)

    def _training(self, V: Tensor, seed: int) -> WatchedTraining:
        generator = torch.Generator().manual_seed(seed)
        train, held = split_rows(V, self.validation_fraction, generator)
        return WatchedTraining(
            train, held, self.max_epochs, self.batch_size, self.learning_rate, seed
        )

    def _make_network(self, device: torch.device | None, seed: int) -> nn.Module:
        """Perceptron with fresh weights."""
        generator = torch.Generator().manual_seed(seed)
        n_features, n_classes = self.n_features_in_, len(self.classes_)
        network = mlp(n_features, layer_widths(self.hidden), n_classes, generator)
        return network if device is None else network.to(device)

    def _first_network(
        self, estimation: TransitionEstimation, task: FitTask
    ) -> FirstNetwork:
        with self._stage("first network", estimation, task) as watched:
            return watched.first_network(self.volume_penalty)

    def _group_matrices(
        self, estimation: TransitionEstimation, first: FirstNetwork, task: FitTask
    ) -> tuple[Any, ...]:
        """Source of the responsibilities, and the matrices found with it.

        One tensor (K, C, C), or what `SparseTransitions` is made of.
        """
        with self._stage("group matrices", estimation, task) as watched:
            if self.group_estimator == "volmin":
                return "model", watched.by_gradient(first, self.volume_penalty)
            source = self.responsibility_source
            if source == "auto" and not len(watched.training.held):
                source = SOURCES[0]  # there is nothing to choose by
            sources = SOURCES if source == "auto" else (source,)
            found = {s: watched.by_counts(s, first, self.kappa) for s in sources}
            if source == "auto":
                losses = {s: watched.held_out_losses(T) for s, T in found.items()}
                source = best_source(losses)
        T = found[source]
        return source, *(T.parts() if isinstance(T, SparseTransitions) else (T,))

    def _generator_settings(self) -> GeneratorSettings:
        return GeneratorSettings(
            kind=self.generator,
            network=self.network,
            representation=self._representation(),
            prediction=self.prediction,
            schedule=self.schedule,
            n_timesteps=self.n_timesteps,
            n_draws=self.n_draws,
        )

    def _train_generator(
        self,
        generator: TransitionGenerator,
        estimation: TransitionEstimation,
        stages: Stages,
        task: FitTask,
    ) -> None:
        def run() -> tuple[dict[str, Tensor], list[float]]:
            with self._stage("generator", estimation, task) as watched:
                losses = train_generator(
                    watched.training, generator, watched.e, watched.g
                )
            return generator.denoiser.state_dict(), losses

        state, _ = stages("generator", run)
        generator.denoiser.load_state_dict(state)

    def _train_classifier(
        self,
        network: nn.Module,
        estimation: TransitionEstimation,
        generator: TransitionGenerator,
        c: Tensor,
        stages: Stages,
        task: FitTask,
        learnt: Callable[[nn.Module], dict[str, Any]],
    ) -> None:
        """Train the classifier of true labels through the matrices, in place."""
        seed = estimation.training.seed
        draws = torch.Generator(c.device).manual_seed(seed + RESAMPLE_SEED)

        def fresh_columns(rows: Tensor) -> Tensor:
            noise = generator.noise
            noise = torch.randn(noise.shape, generator=draws, device=noise.device)
            drawn = dataclasses.replace(generator, noise=noise)
            parts = (estimation.e[rows], estimation.g[rows], estimation.V[rows])
            return drawn.columns(*parts).clone()

        def run() -> tuple[dict[str, Tensor], list[float]]:
            snapshot = None
            if not is_sklearn(self.classifier):

                def snapshot(trainer: Trainer) -> dict[str, Any]:
                    return learnt(trainer.averaged_module())

            with self._stage("classifier", estimation, task, snapshot) as watched:
                _, losses = train_forward(
                    watched.training,
                    network,
                    watched.e,
                    c,
                    fresh_columns=fresh_columns if self.resample else None,
                )
            return network.state_dict(), losses

        try:
            state, _ = stages("classifier", run)
        except InterruptedTraining as stop:
            stages.outcomes["classifier"] = (network.state_dict(), stop.losses)
            raise
        network.load_state_dict(state)
        network.eval()

    def _make_classifier(self, seed: int = 0) -> nn.Module:
        """Network that is trained last: a copy of the user's, or a perceptron."""
        if not isinstance(self.classifier, nn.Module):
            return self._make_network(None, seed)
        return copy_module(self.classifier, self.n_features_in_, len(self.classes_))

    @contextmanager
    def _stage(
        self,
        name: str,
        estimation: TransitionEstimation,
        task: FitTask,
        snapshot: Snapshot | None = None,
    ) -> Iterator[TransitionEstimation]:
        """Progress of one stage, in a bar and for callbacks, of what is yielded."""
        stage = task.stage(name)
        with tqdm(
            desc=f"DTM {name}", unit="epoch", disable=no_bar(self.verbose)
        ) as bar:
            training = dataclasses.replace(
                estimation.training,
                after_stage=bar.update,
                listener=stage.listener(snapshot),
            )
            yield dataclasses.replace(estimation, training=training)
        stage.end()

    # -- prediction ----------------------------------------------------------------

    def transition(self, X: ArrayLike) -> NDArray[np.float32]:
        """Transition matrix of each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; their labels are not needed.

        Returns
        -------
        T : ndarray of shape (n_samples, n_classes, n_classes), float32
            Entry (i, j) is the probability that a row of true class i with these
            features is given label j. Rows sum to 1. Ask for as many rows at a time as
            such an array may have.
        """
        return self._model.transition(self._checked(X))

    def predict_noisy_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probability of each label to be given, right or wrong.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes), float32
            The predicted class probabilities, sent through each row's matrix. Rows sum
            to 1.
        """
        rows = self._checked(X)
        return self._model.given_distribution(rows, self._predict_proba(rows))

    def _build(self, device: torch.device) -> Predictor:
        """Put the fitted arrays back into the objects that predict."""
        network = None
        if not is_sklearn(self.classifier):
            with without_values():
                network = self._make_classifier()
        return Predictor.from_arrays(
            self.model_state_,
            network,
            self._generator_settings(),
            self.row_scaling_,
            device,
        )

    def _predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        e = self._model.scaled(X)
        if self._model.network is not None:
            return network_proba(self._model.network, e).cpu().numpy()
        return weighted_proba(self.estimator_, e, len(self.classes_))

    def _check_loaded(self) -> None:
        wanted = self.n_timesteps + 1, self.n_draws
        if self.model_state_["transitions.noise"].shape[:2] != wanted:
            raise ValueError(f"noise must have the shape {wanted}")
        if sum(name in vars(self) for name in GROUP_ATTRIBUTES) != 1:
            raise ValueError(f"there must be one of {GROUP_ATTRIBUTES}")
        super()._check_loaded()

    def _try_out(self) -> None:
        super()._try_out()
        row, V = np.zeros((1, self.n_features_in_)), np.ones((1, len(self.classes_)))
        self._model.columns(row, V)

    def _label_posterior(self, X: Any, Y: NDArray[Any]) -> NDArray[np.floating]:
        """Beliefs about the true label, given the features and the label. (n, C)."""
        rows = self._checked(X)
        V = Y / Y.max(axis=1, keepdims=True)
        joint = self._predict_proba(rows) * self._model.columns(rows, V)
        return joint / joint.sum(axis=1, keepdims=True)


def _learnt(
    scaler: Standardizer,
    generator: TransitionGenerator,
    centroids: Tensor,
    network: nn.Module | None,
) -> dict[str, Any]:
    """Fitted attributes that prediction needs."""
    return {
        "row_scaling_": scaler.equal_norm,
        "model_state_": predictor_arrays(scaler, network, generator, centroids),
    }


def history(stages: Stages) -> list[dict[str, Any]]:
    """Losses of all trainings, in their order."""
    names = ("first network", "generator", "classifier")
    return [
        {"stage": name, "epoch": epoch, "loss": loss}
        for name in names
        for epoch, loss in enumerate(stages.outcomes[name][-1])
    ]
