"""DMISClassifier: a diffusion over inputs, learnt class by class from any labels."""

from __future__ import annotations

import copy
import warnings
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from torch import Tensor, nn
from tqdm.auto import tqdm

from sklabeldiff._arrays import load_arrays, part_of, state_arrays, without_values
from sklabeldiff._callbacks import FitTask
from sklabeldiff._checkpoint import Checkpoint
from sklabeldiff._class_prior import check_prior, first_prior, moves
from sklabeldiff._dmis_predictor import (
    FIELDS,
    Predictor,
    fitted_scaler,
    predictor_arrays,
)
from sklabeldiff._first_beliefs import first_beliefs
from sklabeldiff._fitting import (
    CALLER_OF_FIT,
    fit_seed,
    kept_if_interrupted,
    no_bar,
    whole_fit,
)
from sklabeldiff._generation import GenerationMixin
from sklabeldiff._image_rows import as_rows, check_columns, checked_shape
from sklabeldiff._parameters import (
    MAX_LAYERS,
    MAX_WIDTH,
    check_number,
    check_option,
)
from sklabeldiff._standardize import check_standardize, fit_standardizer
from sklabeldiff._supervision import (
    SUPERVISIONS,
    known_transition,
    likelihood_of,
    settled,
)
from sklabeldiff._training_data import TrainingData
from sklabeldiff._unet import SIZES, make_unet
from sklabeldiff.base import NetworkClassifier
from sklabeldiff.core.class_denoisers import ClassDenoiser
from sklabeldiff.core.imprecise import average_decay
from sklabeldiff.core.imprecise_training import (
    HALF_LIFE,
    Given,
    ImpreciseTraining,
    Objective,
    repeated_rows,
)
from sklabeldiff.core.input_scaling import InputScaler
from sklabeldiff.core.noise_levels import GRIDS, WEIGHTINGS, NoiseLevels
from sklabeldiff.core.training import BatchLoss, EpochListener, Trainer, n_batches

UPDATES_PER_ROW, MIN_UPDATES, MAX_UPDATES = 1.0, 200, 2000  # of max_epochs="auto"
# Of cls_weight="auto". Sets are resolved faster with more weight; wrong labels are then
# learnt by heart (40 % wrong digits, accuracy by held-out labels: .947 and .928).
CLS_WEIGHTS = {"partial": 3.0, "semi": 3.0, "noisy": 1.0}
# From so many classes on a row is asked about so many besides its candidates. Below,
# there is little to gain; labels that may be wrong, or are few, suffer by it
# (docs/methods/dmis.rst, section 11).
MANY_CLASSES, N_OTHERS = 200, 64
LEVELS = {"mlp": 2, "unet": 1}  # of n_training_levels="auto"
LONG_WORK = 1e15  # floating-point operations: hours on a CPU


class DMISClassifier(GenerationMixin, NetworkClassifier):
    r"""A diffusion over the inputs, learnt from imprecise labels (DMIS).

    Learns how rows of every class look, from candidate sets, wrong labels or missing
    ones, and classifies a row by the class under which it is most likely. It can also
    draw new rows of a class (`sample`), make a small clean data set (`condense`) and
    score how usual rows are (`score_samples`). Assumes that which labels are given
    depends on the true class alone.

    Parameters
    ----------
    supervision : {"auto", "partial", "semi", "noisy"}, default="auto"
        What the labels are: candidate sets that hold the truth; right labels beside
        rows that may be any class; labels that may be wrong. "auto" is "noisy" where
        every row has one label, "semi" where every row has one or all, and "partial"
        otherwise. "partial" and "semi" differ in the beliefs of neighbours that
        training begins with, where the latter is for few labels.
    backbone : {"auto", "mlp", "unet"} or torch module, default="auto"
        The network. "auto" is a U-Net where `image_shape` is given, and a residual
        perceptron otherwise. A module is copied; see Notes.
    image_shape : tuple of int, default=None
        (height, width) or (height, width, channels) of rows that are images. Their
        values are scaled together, to [-1, 1], whatever `standardize` is.
    unet_size : {"small", "paper", "tiny"}, default="small"
        1.7 or 56 million weights, or a toy for tests.
    hidden : int, default=128
        Width of the perceptron.
    n_blocks : int, default=2
        Its residual blocks.
    conditioning : {"mixture", "vanilla"}, default="mixture"
        "vanilla" takes what was given for the class, as an ordinary conditional
        diffusion does: what the paper compares with.
    cls_weight : float or "auto", default="auto"
        Weight of the classification part of the loss. "auto" is 3, and 1, as in the
        paper, where labels may be wrong.
    posterior_temperature : float, default=1.0
        Divides the log-likelihoods of a row before they become probabilities.
    class_prior : {"uniform", "estimate"} or array-like, default="uniform"
        An array has a positive number for each of ``classes_``. "estimate" follows the
        beliefs during training; from labelled rows where others are unlabelled, and
        from the transition matrix where labels may be wrong (found by VolMinNet if it
        is not given).
    transition_matrix : array-like of shape (n_classes, n_classes), default=None
        Entry (i, j): probability that a row of class i is given j, where that is known.
        For wrong labels only.
    noise_rate : float, default=None
        The same for labels that go wrong to every other class alike.
    n_neighbors : int, default=10
        A fifth of the updates begins with the beliefs of so many neighbours of each
        row, as `DDMPClassifier` forms them; or, where labels may be wrong, with those
        of `DTMClassifier`'s kernel smoother. None, as in the paper, begins with none.
    top_k : int, default=None
        Classes that a row is trained on, the likeliest ones of all, as in the paper.
        None is all; but for candidate sets, from 200 classes on, it is the candidates
        of a row and 64 others, near ones and some by chance, which both networks are
        asked about alone. Give the number of classes for all of them then.
    interval_length : float, default=6.4
        Length of the interval of noise levels, relative to data of deviation 0.5; near
        0 only the median of the training levels is left.
    n_training_levels : int or "auto", default="auto"
        Noise levels of a row in an update, over which its posterior is averaged. "auto"
        is 2 for perceptrons and 1, as in the paper, for U-Nets.
    n_sampling_steps : int, default=8
        Noise levels to predict with. Time grows linearly with it.
    n_draws : int, default=1
        Draws of noise at each of them.
    grid : {"quantile", "uniform", "log"}, default="quantile"
        How these levels are placed: at quantiles of the training levels, equally, or
        equally in logarithms.
    weighting : {"edm", "elbo"}, default="edm"
        How they are weighted: as in training, or as in a likelihood, which takes more
        levels (24 with grid "log", say). On vectors its probabilities are surer still.
    ema_fraction : float, default=0.05
        Half-life of the averaged weights, as a share of the updates so far.
    max_epochs : int or "auto", default="auto"
        Passes over the rows; "auto" is what one update a row takes, from 200 to 2000.
    batch_size : int, default=64
        Rows in an update.
    learning_rate : float, default=4e-3
        Peak rate of AdamW.
    standardize : {"auto", "standard", "rows"} or None, default="auto"
        "standard" gives columns mean 0 and variance 1, "rows" then scales rows to equal
        norm and keeps the norm as a column of its own, "auto" does that where it makes
        the labels of near rows more alike.
    classes : array-like of shape (n_classes,), default=None
        All labels, in the order of ``classes_``.
    missing_label : int, float, str or None, default=None
        A value of `y` that marks an unlabelled row, besides None and NaN.
    device : str, default="auto"
        Torch device; "auto" is a GPU where there is one.
    checkpoint_dir : str, Path or None, default=None
        Folder in which a fit leaves its state as it goes. A fit with the same data and
        parameters goes on from there, to the same result; when done it removes it.
    random_state : int, RandomState instance or None, default=None
        The only source of randomness. Equal seeds give equal models on a CPU.
    verbose : int, default=0
        Shows a progress bar, with the estimated work, if positive.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The user's labels.
    label_distribution_ : ndarray of shape (n_samples, n_classes), float32
        Beliefs about the true label of each training row: exactly 0 off the candidates,
        unless labels may be wrong.
    candidate_sets_ : ndarray of shape (n_samples, n_classes), bool
        What was given for the training rows.
    supervision_ : str
        What the labels were taken for.
    class_prior_ : ndarray of shape (n_classes,), float32
        The class prior that predictions use.
    row_scaling_ : bool
        Whether rows are scaled to equal norm.
    model_state_ : dict of str to ndarray
        Weights, scaling, and the noise that predictions share.
    seed_ : int
        Seed of the fit, which `sample` uses too.
    history_ : list of dict
        "epoch" and mean "loss" of each epoch.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Number of columns of `X`.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X has names that are strings.

    See Also
    --------
    DDMPClassifier : A diffusion over labels, for candidate sets.
    DTMClassifier : For wrong labels that depend on the row.
    sklabeldiff.metrics.frechet_distance : How close samples are to real rows.

    Notes
    -----
    With the denoiser :math:`D_\theta(x; \sigma, y)` of class y [1]_ [2]_ and what was
    given, z, the loss of a row is

    .. math:: \lambda(\sigma)
              \Big\| \sum_y \pi_y D_\theta(x + \sigma \epsilon; \sigma, y) - x \Big\|^2
              - \sum_y r_y \log f_\theta(x)_y,

    where :math:`\pi_y = p(y \mid x, z)` comes from an average of the weights, f is the
    posterior :math:`\mathrm{softmax}_y(-\sum_j w_j \| D(x + \tau_j \epsilon; \tau_j, y)
    - x \|^2 + \log p_y)`, and the target r is :math:`\pi` for sets, and early-learning
    regularisation for wrong labels.

    Stated by the paper: the loss, the average, the interval of noise levels, shared
    noise, the U-Net and its sampler. Read or filled in by us: one noise level for both
    parts of the loss, the placing of levels, how the half-life is counted. Added by us:
    everything about vectors (the perceptron, scaling), the beliefs of neighbours to
    begin with, several noise levels a row in training, the weight of 3, labelled rows
    repeated until they are a quarter, candidate sets that may lack the truth.

    The first part of the loss alone does not say which class is which: where every row
    may be any class, rows fall into clusters that mean nothing, and fit refuses.
    Probabilities are overconfident on vectors; `CandidateCalibratedClassifier` tempers
    them.

    A `backbone` of one's own is called as ``module(u, c_noise, condition)`` with noisy
    rows (b, d) of variance 1, a quarter of the logarithm of their noise levels (b,),
    and None for all classes, or for each row the numbers of K classes (b, K), or K
    mixtures of classes (b, K, n_classes); it returns (b, K, d). d is `n_features`, and
    one more with `standardize` "rows"; "auto" is "standard" then. For a prediction it
    is asked about 256 rows at once, or as many as its attribute ``block_answers``,
    rows times classes, allows.

    References
    ----------
    .. [1] D.-D. Wu, J. Cui, W. Wang, Z. Shen, M. Sugiyama, "Learning Robust Diffusion
           Models from Imprecise Supervision", arXiv:2510.03016, 2025.
    .. [2] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the Design Space of
           Diffusion-Based Generative Models", NeurIPS 2022.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff import DMISClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.5, random_state=0)
    >>> clf = DMISClassifier(random_state=0).fit(X, sets)
    >>> bool((clf.predict(X) == y).mean() > 0.9)
    True
    """

    _shaping = (
        *("backbone", "image_shape", "unet_size", "hidden", "n_blocks"),
        *("interval_length", "grid", "weighting", "posterior_temperature"),
        *("n_sampling_steps", "n_draws"),
    )
    _fields: ClassVar = NetworkClassifier._fields | FIELDS

    def __init__(
        self,
        supervision: str = "auto",
        *,
        backbone: Any = "auto",
        image_shape: tuple[int, ...] | None = None,
        unet_size: str = "small",
        hidden: int = 128,
        n_blocks: int = 2,
        conditioning: str = "mixture",
        cls_weight: float | str = "auto",
        posterior_temperature: float = 1.0,
        class_prior: Any = "uniform",
        transition_matrix: ArrayLike | None = None,
        noise_rate: float | None = None,
        n_neighbors: int | None = 10,
        top_k: int | None = None,
        interval_length: float = 6.4,
        n_training_levels: int | str = "auto",
        n_sampling_steps: int = 8,
        n_draws: int = 1,
        grid: str = "quantile",
        weighting: str = "edm",
        ema_fraction: float = 0.05,
        max_epochs: int | str = "auto",
        batch_size: int = 64,
        learning_rate: float = 4e-3,
        standardize: str | None = "auto",
        classes: ArrayLike | None = None,
        missing_label: Any = None,
        device: str = "auto",
        checkpoint_dir: str | Path | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.supervision = supervision
        self.backbone = backbone
        self.image_shape = image_shape
        self.unet_size = unet_size
        self.hidden = hidden
        self.n_blocks = n_blocks
        self.conditioning = conditioning
        self.cls_weight = cls_weight
        self.posterior_temperature = posterior_temperature
        self.class_prior = class_prior
        self.transition_matrix = transition_matrix
        self.noise_rate = noise_rate
        self.n_neighbors = n_neighbors
        self.top_k = top_k
        self.interval_length = interval_length
        self.n_training_levels = n_training_levels
        self.n_sampling_steps = n_sampling_steps
        self.n_draws = n_draws
        self.grid = grid
        self.weighting = weighting
        self.ema_fraction = ema_fraction
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.standardize = standardize
        self.classes = classes
        self.missing_label = missing_label
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

    @property
    def candidate_sets_may_lack_truth(self) -> bool:  # type: ignore[override]
        """Whether beliefs may leave the sets; our exported checks of estimators ask."""
        return self.supervision == "noisy"

    @whole_fit
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Learn how rows of each class look.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; scaled inside, see `standardize`. With `image_shape` also
            ``(n_samples, *image_shape)``.
        y : array-like of shape (n_samples,) or (n_samples, n_classes)
            One label a row, None or NaN for an unlabelled row; or candidate sets: a 0/1
            or bool mask, non-negative weights, or one collection of labels per row.

        Returns
        -------
        self : DMISClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If every row may be any class, a parameter does not go with the labels or
            is out of range, X holds NaN, or training diverges.
        TypeError
            If a parameter is of the wrong type.

        Warns
        -----
        UserWarning
            If training will take hours on a CPU.
        """
        self._check_params()
        data = self._check_fit(as_rows(X, self.image_shape), y)
        check_columns(self.n_features_in_, self.image_shape)
        weights = data.relative_weights()
        T = known_transition(
            self.transition_matrix, self.noise_rate, len(self.classes_)
        )
        self.supervision_ = settled(self.supervision, weights, T is not None)
        seed = fit_seed(self.random_state, 2**31 - 10)
        device = self._device()
        scaler = self._fit_scaler(data)
        x = torch.as_tensor(scaler(data.X), device=device)
        V = torch.as_tensor(weights, dtype=x.dtype, device=device)
        likelihood = None
        if T is not None:
            L = likelihood_of(weights, T, self.classes_)
            likelihood = torch.as_tensor(L, dtype=x.dtype, device=device)
        prior = first_prior(self.class_prior, self.supervision_, x, V, T, seed)
        network, noise = self._first_state(x.shape[1], seed)
        self._check_module(network, x[:1])
        S = None
        if self.n_neighbors is not None and self.conditioning != "vanilla":
            S = first_beliefs(self.supervision_, x, V, data, self.n_neighbors, seed)
        given = Given(x, V, likelihood, S)

        task = FitTask(self, X, y, self._n_epochs(len(repeated_rows(V))))
        listener = task.listener(lambda _: self._learnt(scaler, noise, training))
        training = ImpreciseTraining(
            self._objective(V),
            *(NoiseLevels(self.interval_length), self._n_levels()),
            *(given, prior),
            lambda loss, n: self._make_trainer(network, loss, n, seed, listener),
        )

        def finish() -> None:
            self._finish_fit(self._learnt(scaler, noise, training) | {"seed_": seed})

        with kept_if_interrupted(self, finish, training.trainer.has_learnt):
            checkpoint = self._train(training, data, seed)
        finish()
        checkpoint.remove()
        task.end()
        return self

    # -- the steps of fit, in order ------------------------------------------------

    def _check_params(self) -> None:
        super()._check_params()
        check_option("supervision", self.supervision, SUPERVISIONS)
        if not isinstance(self.backbone, nn.Module):
            check_option("backbone", self.backbone, ("auto", "mlp", "unet"))
        check_option("unet_size", self.unet_size, tuple(SIZES))
        check_option("conditioning", self.conditioning, ("mixture", "vanilla"))
        check_option("grid", self.grid, GRIDS)
        check_option("weighting", self.weighting, WEIGHTINGS)
        check_standardize(self.standardize)
        check_prior(self.class_prior)
        check_number("hidden", self.hidden, 1, MAX_WIDTH, integer=True)
        for name in ("n_sampling_steps", "n_draws", "batch_size"):
            check_number(name, getattr(self, name), 1, integer=True)
        check_number("n_blocks", self.n_blocks, 1, MAX_LAYERS, integer=True)
        check_number(
            "n_training_levels", self.n_training_levels, 1, integer=True, or_word="auto"
        )
        for name in ("top_k", "n_neighbors"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 1, integer=True)
        check_number("cls_weight", self.cls_weight, 0, or_word="auto")
        check_number("ema_fraction", self.ema_fraction, 0, 1)
        check_number(
            "posterior_temperature", self.posterior_temperature, 0, open_low=True
        )
        check_number("interval_length", self.interval_length, 1e-6, 1000)
        if self.image_shape is not None:
            checked_shape(self.image_shape)
        elif self._backbone() == "unet":
            raise ValueError(
                "backbone='unet' needs image_shape, (height, width) or (height, width, "
                "channels) of the images in X."
            )

    def _backbone(self) -> Any:
        if isinstance(self.backbone, nn.Module) or self.backbone != "auto":
            return self.backbone
        return "mlp" if self.image_shape is None else "unet"

    def _fit_scaler(self, data: TrainingData) -> InputScaler:
        if self.image_shape is not None:
            return InputScaler.of_range(data.X)
        how = self.standardize
        if how == "auto" and isinstance(self.backbone, nn.Module):
            how = "standard"  # a module is made for a number of columns
        return InputScaler.fit(fit_standardizer(data, how), data.X)

    def _first_state(self, d: int, seed: int) -> tuple[nn.Module, Tensor]:
        """Network with first weights, and the noise that predictions share."""
        generator = torch.Generator().manual_seed(seed)
        network = self._make_network(d, generator)
        noise = torch.randn(
            (self.n_sampling_steps, self.n_draws, d), generator=generator
        )
        return network.to(self._device()), noise.to(self._device())

    def _make_network(self, d: int, generator: torch.Generator) -> nn.Module:
        backbone, n_classes = self._backbone(), len(self.classes_)
        if isinstance(backbone, nn.Module):
            network = copy.deepcopy(backbone)
        elif backbone == "mlp":
            network = ClassDenoiser(d, n_classes, self.hidden, self.n_blocks, generator)
        else:
            assert self.image_shape is not None  # checked
            shape = tuple(self.image_shape)
            network = make_unet(shape, n_classes, self.unet_size, generator)
        return network

    def _check_module(self, network: nn.Module, x: Tensor) -> None:
        """Refuse a module of the user whose answers have another shape. (1, d)."""
        if not isinstance(self.backbone, nn.Module):
            return
        d, n_classes = x.shape[1], len(self.classes_)
        call = f"backbone, asked about a row of {d} columns for all classes,"
        try:
            with torch.no_grad():
                F = network.eval()(x, x.new_zeros(1), None)
        except RuntimeError as error:
            raise ValueError(f"{call} fails: {error}") from error
        if F.shape != (1, n_classes, d):
            raise ValueError(
                f"{call} answers in the shape {tuple(F.shape)}; {n_classes} classes "
                f"need {(1, n_classes, d)}."
            )

    def _n_levels(self) -> int:
        if self.n_training_levels != "auto":
            return int(self.n_training_levels)
        return LEVELS["unet" if self._backbone() == "unet" else "mlp"]

    def _cls_weight(self) -> float:
        if self.cls_weight != "auto":
            return float(self.cls_weight)
        return CLS_WEIGHTS[self.supervision_]

    def _n_asked(self, V: Tensor) -> int | None:
        """Classes that networks are asked about for a row; None for all. (n, C)."""
        C, is_set = V.shape[1], self.supervision_ == "partial"
        chosen = self.top_k is not None or self.conditioning == "vanilla"
        if C < MANY_CLASSES or not is_set or chosen:
            return None
        sizes = (V > 0).sum(1)
        n_asked = int(sizes[(V < 1).any(1)].max()) + N_OTHERS
        return n_asked if n_asked < C else None

    def _objective(self, V: Tensor) -> Objective:
        return Objective(
            wrong=self.supervision_ == "noisy",
            vanilla=self.conditioning == "vanilla",
            cls_weight=self._cls_weight(),
            temperature=self.posterior_temperature,
            top_k=self.top_k,
            moving_prior=moves(self.class_prior, self.supervision_),
            n_asked=self._n_asked(V),
        )

    def _make_trainer(
        self,
        network: nn.Module,
        loss: BatchLoss,
        n_rows: int,
        seed: int,
        listener: EpochListener | None,
    ) -> Trainer:
        horizon = HALF_LIFE / self.batch_size
        return Trainer(
            network,
            loss,
            n_rows,
            torch.Generator(self._device()).manual_seed(seed),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=0.0,
            parameter_groups=[],
            ema=partial(average_decay, fraction=self.ema_fraction, max_horizon=horizon),
            planned_updates=self._n_epochs(n_rows) * n_batches(n_rows, self.batch_size),
            listener=listener,
        )

    def _n_epochs(self, n_rows: int) -> int:
        """Return max_epochs, with a number for "auto"."""
        if self.max_epochs != "auto":
            return int(self.max_epochs)
        updates = np.clip(UPDATES_PER_ROW * n_rows, MIN_UPDATES, MAX_UPDATES)
        return -(-int(updates) // n_batches(n_rows, self.batch_size))

    def _train(
        self, training: ImpreciseTraining, data: TrainingData, seed: int
    ) -> Checkpoint:
        """Train, from a checkpoint if there is one; it is kept: more is to come."""
        params = self.get_params(deep=False) | {"random_state": seed, "method": "DMIS"}
        params["device"] = self._device().type  # of whose generator the state is
        for name in ("checkpoint_dir", "verbose"):
            del params[name]
        arrays: list[NDArray[Any]] = data.arrays()
        if isinstance(self.backbone, nn.Module):
            arrays += state_arrays(self.backbone).values()
        checkpoint = Checkpoint(self.checkpoint_dir, arrays, params)
        state = checkpoint.load(self._device())
        if state is not None:
            training.restore(state)
        n_epochs = self._n_epochs(len(training.rows))
        work = training.estimated_work(n_epochs)
        self._warn_of_work(work)
        bar = tqdm(
            total=n_epochs,
            initial=training.trainer.n_epochs,
            desc=f"DMIS ({work:.0e} floating-point operations)",
            unit="epoch",
            disable=no_bar(self.verbose),
        )

        def after_stage(n_epochs: int) -> None:
            bar.update(n_epochs)
            checkpoint.save(training.state())

        with bar:
            training.run(n_epochs, after_stage)
        return checkpoint

    def _warn_of_work(self, work: float) -> None:
        if work > LONG_WORK and self._device().type == "cpu":
            warnings.warn(
                f"This fit takes about {work:.0e} floating-point operations, which is "
                "hours on a CPU. Use a GPU, a smaller network, fewer epochs, or top_k "
                "for many classes.",
                UserWarning,
                stacklevel=CALLER_OF_FIT + 1,
            )

    def _learnt(
        self, scaler: InputScaler, noise: Tensor, training: ImpreciseTraining
    ) -> dict[str, Any]:
        """Fitted attributes: what training has come to."""
        arrays = predictor_arrays(scaler, training.teacher, noise, training.prior)
        predictor = self._predictor(training.teacher, scaler, noise, training.prior)
        given, wrong = training.given, training.objective.wrong
        if len(self.classes_) < MANY_CLASSES or wrong:
            log_f = predictor.log_posterior(given.x)
            rows = torch.arange(len(log_f), device=log_f.device)
            S = given.weights(log_f, rows, wrong)
        else:
            S = predictor.beliefs_in_sets(given.x, given.V)
        losses = training.trainer.losses
        return {
            "label_distribution_": self._without_absent(S.cpu().numpy()),
            "class_prior_": arrays["prior"],
            "history_": [{"epoch": e, "loss": v} for e, v in enumerate(losses)],
            "n_iter_": training.trainer.n_epochs,
            "row_scaling_": scaler.standardizer.equal_norm,
            "model_state_": arrays,
        }

    # -- prediction ----------------------------------------------------------------

    def _predictor(
        self, network: nn.Module, scaler: InputScaler, noise: Tensor, prior: Tensor
    ) -> Predictor:
        return Predictor(
            scaler,
            network,
            NoiseLevels(self.interval_length),
            noise,
            prior.log(),
            self.grid,
            self.weighting,
            self.posterior_temperature,
        )

    def _build(self, device: torch.device) -> Predictor:
        """Put the fitted arrays back into the objects that predict."""
        scaler, arrays = fitted_scaler(self.model_state_, self.row_scaling_)
        noise, prior = (
            torch.tensor(arrays[name], device=device) for name in ("noise", "prior")
        )
        with without_values():
            network = self._make_network(noise.shape[-1], torch.Generator())
        load_arrays(network, part_of(arrays, "network"), device)
        return self._predictor(network, scaler, noise, prior)

    def _check_loaded(self) -> None:
        check_columns(self.n_features_in_, self.image_shape)
        d = self.n_features_in_ + self.row_scaling_
        wanted = self.n_sampling_steps, self.n_draws, d
        if self.model_state_["noise"].shape != wanted:
            raise ValueError(f"noise must have the shape {wanted}")
        super()._check_loaded()

    def _checked(self, X: ArrayLike) -> NDArray[np.floating]:
        return super()._checked(as_rows(X, self.image_shape))

    def _predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        return self._model.log_posterior(self._model.scaled(X)).exp().cpu().numpy()

    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """Logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to classify.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,), float32
            The largest is that of the predicted class, and -inf that of a class that
            was never a candidate. Unlike probabilities they are not rounded to 0. Of
            two classes, the difference between the second and the first.
        """
        rows = self._checked(X)
        scores = self._model.log_posterior(self._model.scaled(rows)).cpu().numpy()
        scores[:, ~self.candidate_sets_.any(axis=0)] = -np.inf
        scores -= logsumexp(scores, axis=1, keepdims=True)
        if scores.shape[1] == 2:
            return scores[:, 1] - scores[:, 0]
        return scores
