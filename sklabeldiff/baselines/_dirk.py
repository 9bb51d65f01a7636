"""DIRKClassifier: CAD's closest competitor, on the same networks and views."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from numpy.typing import ArrayLike

from sklabeldiff._contrastive_classifier import ContrastiveClassifier
from sklabeldiff._fitting import whole_fit
from sklabeldiff.core.candidate_losses import dirk_loss
from sklabeldiff.core.class_specific_training import Objective


class DIRKClassifier(ContrastiveClassifier):
    r"""Reliable knowledge distilled from a teacher, by contrast with a queue (DIRK).

    Learns from candidate sets in which a wrong label stands because the row looks like
    it, as `CADClassifier` does, and pulls rows together whose guessed labels agree and
    whose sets have a class in common. Assumes that the true label of a row is among its
    candidates. A yardstick: the same networks, views and training as of CAD.

    Parameters
    ----------
    beta : float, default=1.0
        Weight of the contrast; 0 leaves it out. The loss has the factor tau / 0.07
        besides.
    tau : float, default=0.07
        Temperature of the features that are compared.
    tau_w : float, default=0.4
        Temperature of the weights among rows of one guessed label.
    momentum : float, default=0.9
        Share that the teacher keeps of its weights in an update. 0.99 as in the paper
        suits trainings of ten thousand updates and more.
    queue_size : int or "auto", default="auto"
        Keys of earlier batches to compare with. "auto" is 4096 for images, 512 for
        rows, and at most twice the number of rows.
    warmup_epochs : int, default=1
        First epochs, in which every row is told from all others.
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
        parameters goes on from there, to the same result; when done it removes it.
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
    sklabeldiff.CADClassifier : Pulls together what was made for a class, and guesses no
        label.

    Notes
    -----
    With the teacher's probabilities :math:`\tilde p`, normalised to :math:`\bar p`
    among the candidates S and to :math:`\bar n` among the others, the student is
    trained by cross-entropy to the target [1]_

    .. math:: t_j = \alpha \bar p_j \;(j \in S),\quad (1 - \alpha) \bar n_j
              \;(j \notin S),\qquad \alpha = \frac{M \max_j \bar n_j}
              {M \max_j \bar n_j + \min_{j \in S} \bar p_j},\quad
              M = \frac{1}{\sum_{j \in S} \tilde p_j},

    in which no other class exceeds a candidate, and by the contrast of `CADClassifier`
    (its DIRK-REF variant): of rows, not of versions; with the positives whose largest
    t is that of the anchor and whose sets meet its set; weighted by the cosine of t.

    The optimiser, the network for rows and the views are those of `CADClassifier`; the
    paper has SGD for 500 epochs and images only.

    References
    ----------
    .. [1] D.-D. Wu, D.-B. Wang, M.-L. Zhang, "Distilling Reliable Knowledge for
           Instance-Dependent Partial Label Learning", AAAI 2024.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff.baselines import DIRKClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, kind="uniform", rate=0.3, random_state=0)
    >>> clf = DIRKClassifier(random_state=0).fit(X, sets)
    >>> bool((clf.predict(X) == y).mean() > 0.9)
    True
    """

    def __init__(
        self,
        beta: float = 1.0,
        *,
        tau: float = 0.07,
        tau_w: float = 0.4,
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
        self.beta = beta
        self.tau = tau
        self.tau_w = tau_w
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
    def fit(self, X: ArrayLike, y: Any) -> Self:
        """Train on candidate sets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows; scaled inside, see `standardize`. With `image_shape` also
            ``(n_samples, *image_shape)``.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            The candidate sets: a 0/1 or bool mask, non-negative weights, one collection
            of labels per row, or one label per row; None or NaN for an unlabelled row.

        Returns
        -------
        self : DIRKClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If a row has no candidate, X holds NaN, a parameter is out of range or does
            not go with the others, or training diverges.
        TypeError
            If a parameter is of the wrong type.
        ImportError
            If the network for images needs a package that is not installed.
        """
        self._fit(X, y)
        return self

    def _objective(self) -> Objective:
        return Objective(
            dirk_loss,
            self.beta,
            self.tau,
            self.tau_w,
            self.warmup_epochs,
            reliable=True,
        )
