"""CADClassifier: class-specific versions of rows, against instance entanglement."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from sklabeldiff._contrastive_classifier import ContrastiveClassifier, Inputs
from sklabeldiff._fitting import whole_fit
from sklabeldiff._image_rows import as_rows
from sklabeldiff._parameters import check_number, check_option
from sklabeldiff._training_data import TrainingData
from sklabeldiff.core.candidate_losses import CANDIDATE_LOSSES
from sklabeldiff.core.class_gates import activation_gate, contribution_gate
from sklabeldiff.core.class_specific_training import Objective, Versions
from sklabeldiff.editing import DiffusionEditor

AUGMENTATIONS = ("cam", "none", "precomputed")
LOSSES = ("adjusted", "progressive", "uniform")


class CADClassifier(ContrastiveClassifier):
    r"""Class-specific augmentation against entangled rows (CAD).

    Learns from candidate sets in which a wrong label stands because the row looks like
    it. Two rows of different classes are then near each other *and* share candidates,
    and a method that pulls rows together by their guessed labels pulls wrong pairs. CAD
    makes a version of every row for each of its candidates, in which that class stands
    out, and pulls versions for the same class together; no label is guessed. Assumes
    that the true label of a row is among its candidates.

    Parameters
    ----------
    augmentation : {"cam", "none", "precomputed"} or callable, default="cam"
        How a version for class s is made. "cam" keeps what the network itself sees of
        s, by its class activation map (CAD-CAM), and fades the rest. "none" leaves the
        row as it is. "precomputed" takes the versions that fit is given. A callable is
        asked once, before training, for all of them: see Notes, and `DiffusionEditor`.
        In cross-validation, where fit is given no versions, use a callable.
    candidate_loss : {"adjusted", "progressive", "uniform"}, default="adjusted"
        What is learnt from the sets. "adjusted" pulls candidates up and the other
        classes down, both by how sure the teacher is of them; "progressive" leaves the
        others alone; "uniform" asks no teacher, and knows the given weights alone.
    beta : float, default=0.3
        Weight of the contrast of versions; with 0 no version is made. The paper has
        1.5, over 500 epochs: in trainings as short as the default's that drowns what is
        learnt from the sets. The loss has the factor tau / 0.07 besides.
    tau : float, default=0.12
        Temperature of the features that are compared.
    tau_w : float, default=0.1
        Temperature of the weights among versions for one class.
    pair_average : {"pairs", "instances"}, default="pairs"
        Whether a row counts in the contrast once for every candidate, or once.
    cam_eps : float, default=0.1
        What "cam" leaves of what does not speak for the class; 1 leaves all.
    max_versions : int, default=None
        Versions made of a row in an update, of candidates drawn anew each time; None
        makes those of all candidates. Training time and memory grow with it: set it
        where unlabelled rows may be any of many classes.
    momentum : float, default=0.9
        Share that the teacher keeps of its weights in an update. 0.99 as in the paper
        suits trainings of ten thousand updates and more.
    queue_size : int or "auto", default="auto"
        Keys of earlier batches to compare with. "auto" is 4096 for images, 512 for
        rows, and at most twice the number of rows.
    warmup_epochs : int, default=1
        First epochs, without gates, in which every version is told from all others.
    backbone : {"auto", "mlp", "small", "resnet18", "resnet34"}, default="auto"
        The network: a perceptron; or for images a residual network with a stem for
        small ones, "small" of 0.3 million weights for CPUs, the others of 11 and 21
        million for GPUs (extra ``images``). "auto" is "small" where `image_shape` is
        given.
    hidden : int or tuple of int, default=(256,)
        Widths of the perceptron's hidden layers.
    image_shape : tuple of int, default=None
        (height, width) or (height, width, channels) of rows that are images, of 1 or 3
        channels. But for the perceptron, all their values are scaled alike, whatever
        `standardize` is.
    crop_scale : tuple of two floats, default=(0.2, 1.0)
        Least and greatest share of an image's area in a view that is compared.
    flip : bool, default=True
        Whether half of the views are mirrored, left for right. Switch it off where
        that changes the class: digits, letters, signs.
    color_jitter : float, default=0.5
        Strength of the random changes of brightness, contrast and colours of images,
        in [0, 1].
    max_epochs : int or "auto", default="auto"
        Passes over the rows. "auto" is 30 for images, and for rows as many as make six
        updates for ten rows, from 150 to 1000 in all.
    batch_size : int, default=64
        Rows in an update, at least 3.
    learning_rate : float, default=5e-3
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
    checkpoint_dir : str, Path or None, default=None
        Folder in which a fit leaves its state as it goes. A fit with the same data and
        parameters goes on from there, to the same result; when done it removes it. Of a
        callable `augmentation` the versions that it makes count, not the callable.
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
        Beliefs about the true label of each training row, exactly 0 off the candidates.
    row_scaling_ : bool
        Whether rows are scaled to equal norm.
    model_state_ : dict of str to ndarray
        Weights and scaling.
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
    DiffusionEditor : Versions of images by InstructPix2Pix, the paper's CAD.
    DDMPClassifier : A diffusion over labels, for tables and frozen features.
    sklabeldiff.baselines.DIRKClassifier : Its closest competitor, on the same networks.
    sklabeldiff.metrics.entangled_accuracy : Accuracy on the rows it is made for.

    Notes
    -----
    With the teacher's and the student's probabilities :math:`\tilde p_{ij}` and
    :math:`p_{ij}`, and :math:`\omega_{ij}` the former normalised inside the set
    :math:`S_i` and, apart from that, outside of it, the loss is [1]_

    .. math::

        -\sum_{j \in S_i} \omega_{ij} \log p_{ij}
        - \sum_{j \notin S_i} \omega_{ij} \log (1 - p_{ij})
        + \beta\, \mathrm{mean}_a \frac{\tau}{0.07} \Big[ -\sum_b w_{ab}
        \log \frac{\exp(q_a \cdot v_b / \tau)}
        {\sum_{b' \ne a} \exp(q_a \cdot v_{b'} / \tau)} \Big],

    where a are the versions of a batch, b all that they are compared with (each other,
    the teacher's keys, those of earlier batches), and w weighs those made for the same
    class by the cosine of the teacher's logits. A version for class s is
    :math:`\mu + (a_s + \epsilon (1 - a_s)) (x - \mu)` with a gate :math:`a_s` between 0
    and 1 and the mean :math:`\mu`.

    From the paper and its code: the losses, the queue, the teacher, the views, the
    formula of the gate. Ours, since no code of CAD-CAM was released: the gate's map is
    the teacher's, made anew in every update, and it fades towards the mean colour.
    Ours, since the paper knows images only: everything about rows. Their gate is what
    each entry contributes to the logit, :math:`\mathrm{relu}(x \cdot \partial
    \mathrm{logit}_s / \partial x)` over its maximum; their views are noise and dropped
    entries. It can only confirm what the network uses already: do not expect a gain
    from the gate on rows. Also changed: AdamW with a warm-up and clipped gradients for
    SGD, a faster teacher for short trainings, turned and slanted images for AutoAugment
    and RandAugment, an empty queue and equal networks to begin with.

    A callable is called as ``augmentation(X, rows, labels)`` with X as a read-only
    array of the dtype and scale that fit got, of images where there is `image_shape`,
    and, for every candidate of row 0, then of row 1, and so on, the number of the row
    and the label. It returns one version for each, an array of shape ``(n_pairs,
    *X.shape[1:])`` in the scale of X. `save` cannot write a callable: give a fitted
    estimator ``set_params(augmentation="none")`` first, predictions stay as they are.

    References
    ----------
    .. [1] R. Zhao, B. Shi, K. Sun, B. Dong, "Mitigating Instance Entanglement in
           Instance-Dependent Partial Label Learning", CVPR 2026, arXiv:2603.04825.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff import CADClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.3, random_state=0)
    >>> clf = CADClassifier(random_state=0).fit(X, sets)
    >>> bool((clf.predict(X) == y).mean() > 0.9)
    True
    """

    def __init__(
        self,
        augmentation: Any = "cam",
        *,
        candidate_loss: str = "adjusted",
        beta: float = 0.3,
        tau: float = 0.12,
        tau_w: float = 0.1,
        pair_average: str = "pairs",
        cam_eps: float = 0.1,
        max_versions: int | None = None,
        momentum: float = 0.9,
        queue_size: int | str = "auto",
        warmup_epochs: int = 1,
        backbone: str = "auto",
        hidden: int | tuple[int, ...] = (256,),
        image_shape: tuple[int, ...] | None = None,
        crop_scale: tuple[float, float] = (0.2, 1.0),
        flip: bool = True,
        color_jitter: float = 0.5,
        max_epochs: int | str = "auto",
        batch_size: int = 64,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.01,
        standardize: str | None = "standard",
        classes: ArrayLike | None = None,
        missing_label: Any = None,
        device: str = "auto",
        checkpoint_dir: str | Path | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.augmentation = augmentation
        self.candidate_loss = candidate_loss
        self.beta = beta
        self.tau = tau
        self.tau_w = tau_w
        self.pair_average = pair_average
        self.cam_eps = cam_eps
        self.max_versions = max_versions
        self.momentum = momentum
        self.queue_size = queue_size
        self.warmup_epochs = warmup_epochs
        self.backbone = backbone
        self.hidden = hidden
        self.image_shape = image_shape
        self.crop_scale = crop_scale
        self.flip = flip
        self.color_jitter = color_jitter
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.standardize = standardize
        self.classes = classes
        self.missing_label = missing_label
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

    @whole_fit
    def fit(self, X: ArrayLike, y: Any, X_aug: ArrayLike | None = None) -> Self:
        """Train on candidate sets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; scaled inside, see `standardize`. With `image_shape` also
            ``(n_samples, *image_shape)``.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            The candidate sets: a 0/1 or bool mask, non-negative weights, one collection
            of labels per row, or one label per row; None or NaN for an unlabelled row.
        X_aug : array-like of shape (n_pairs, n_features), default=None
            Or ``(n_pairs, *image_shape)``. With ``augmentation="precomputed"`` a
            version of row 0 for each of its candidates, in the order of ``classes_``,
            then of row 1, and so on.

        Returns
        -------
        self : CADClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If a row has no candidate, X or X_aug holds NaN, X_aug has another number of
            rows than there are candidates, a parameter is out of range or does not go
            with the others, or training diverges.
        TypeError
            If a parameter is of the wrong type.
        ImportError
            If the network for images needs a package that is not installed.
        """
        self._fit(X, y, X_aug)
        return self

    def _check_params(self) -> None:
        super()._check_params()
        if isinstance(self.augmentation, type):
            raise TypeError(
                f"augmentation is the class {self.augmentation.__name__}. Give an "
                f"instance: {self.augmentation.__name__}()."
            )
        if not callable(self.augmentation):
            check_option("augmentation", self.augmentation, AUGMENTATIONS)
        check_option("candidate_loss", self.candidate_loss, LOSSES)
        check_option("pair_average", self.pair_average, ("pairs", "instances"))
        check_number("cam_eps", self.cam_eps, 0, 1)
        if self.max_versions is not None:
            check_number("max_versions", self.max_versions, 1, integer=True)

    def _objective(self) -> Objective:
        return Objective(
            CANDIDATE_LOSSES[self.candidate_loss],
            self.beta,
            self.tau,
            self.tau_w,
            self.warmup_epochs,
            per_row=self.pair_average == "instances",
            eps=self.cam_eps,
        )

    def _versions(
        self, X: Any, X_aug: Any, data: TrainingData, inputs: Inputs
    ) -> Versions:
        if (X_aug is not None) != (self.augmentation == "precomputed"):
            raise ValueError(
                "X_aug and augmentation='precomputed' go together: give both or none; "
                f"augmentation is {self.augmentation!r}."
            )
        gate, ready = None, None
        if X_aug is not None:
            ready = self._checked_versions(X_aug, "X_aug")
        elif callable(self.augmentation):
            if self.beta:
                made = self._made_by_callable(X, data)
                ready = self._checked_versions(made, "What augmentation returned")
        elif self.augmentation == "cam":
            gate = activation_gate if self._sees_images else contribution_gate
        return Versions(
            gate,
            None if ready is None else inputs(ready),
            self.max_versions,
        )

    def _made_by_callable(self, X: Any, data: TrainingData) -> Any:
        """Ask the user's function for a version of every row for every candidate."""
        images = np.asarray(X)
        if images.dtype.kind not in "uif":
            images = data.X
        images = images.view()
        images.flags.writeable = False  # the same rows are trained on
        if self.image_shape is not None:
            images = images.reshape(-1, *self.image_shape)
        rows, columns = np.nonzero(self.candidate_sets_)
        made = self.augmentation(images, rows, self.classes_[columns])
        if isinstance(self.augmentation, DiffusionEditor):
            self.augmentation.release()  # gigabytes, on the device that trains now
        return made

    def _checked_versions(self, versions: Any, name: str) -> NDArray[Any]:
        """Versions as rows, one for each candidate of each row. (n_pairs, p)."""
        n_pairs, d = int(self.candidate_sets_.sum()), self.n_features_in_
        rows = as_rows(versions, self.image_shape, name)
        if np.ndim(rows) == 2:  # numbers of 8 bits stay such: there may be many
            rows = check_array(rows, dtype="numeric", input_name=name)
        if np.shape(rows) != (n_pairs, d):
            raise ValueError(
                f"{name} has shape {np.shape(rows)}, but {n_pairs} candidates in all "
                f"and {d} columns of X need {(n_pairs, d)}: a version of row 0 for "
                "each of its candidates, in the order of classes_, then of row 1, and "
                "so on."
            )
        return rows
