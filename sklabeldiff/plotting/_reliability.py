"""How often the answers of a given confidence are right."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklabeldiff.metrics._proba import confidence_bins
from sklabeldiff.plotting._style import COLOURS, GREY, MARKERS, fitted, take_axes

Z = 1.96  # of the intervals: 95 %


class ReliabilityDisplay:
    """How often the answers of a given confidence are right.

    Rows of like confidence are binned together. On the diagonal a model is as sure as
    it may be; below, it is too sure. Bars are 95 % intervals of the accuracy: wide
    where a bin has few rows.

    Parameters
    ----------
    confidence : ndarray of shape (n_bins,)
        Mean confidence of each bin that has rows.
    accuracy : ndarray of shape (n_bins,)
        Share of its answers that are right.
    n_rows : ndarray of shape (n_bins,), int
        Its rows.
    calibration_error : float
        Expected calibration error over these bins.
    name : str, default=None
        Name in the legend.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The picture.
    ax_ : matplotlib Axes
        Its axes.

    See Also
    --------
    sklabeldiff.metrics.expected_calibration_error : The number in the legend.
    sklabeldiff.calibration.CandidateCalibratedClassifier : Mends probabilities.
    sklearn.calibration.CalibrationDisplay : For two classes.

    Notes
    -----
    Intervals are those of Wilson [1]_, which stay inside 0 and 1.

    References
    ----------
    .. [1] E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
           Inference", Journal of the American Statistical Association 22, 1927.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff.baselines import PLKNNClassifier
    >>> from sklabeldiff.plotting import ReliabilityDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = PLKNNClassifier().fit(X[::2], y[::2])
    >>> display = ReliabilityDisplay.from_estimator(clf, X[1::2], y[1::2])
    >>> int(display.n_rows.sum())
    75
    """

    def __init__(
        self,
        confidence: NDArray[Any],
        accuracy: NDArray[Any],
        n_rows: NDArray[Any],
        calibration_error: float,
        name: str | None = None,
    ) -> None:
        self.confidence = confidence
        self.accuracy = accuracy
        self.n_rows = n_rows
        self.calibration_error = calibration_error
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        true_labels: ArrayLike,
        *,
        n_bins: int = 10,
        strategy: str = "uniform",
        name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Ask a fitted classifier about rows whose true labels are known.

        Parameters
        ----------
        estimator : classifier or Pipeline
            Fitted, with ``predict_proba``.
        X : array-like of shape (n_samples, n_features)
            Rows that it was not trained on.
        true_labels : array-like of shape (n_samples,)
            Their true labels.
        n_bins : int, default=10
            Number of bins.
        strategy : {"uniform", "quantile"}, default="uniform"
            Bins of equal width, or of about equally many rows.
        name : str, default=None
            Name in the legend. By default that of the class of the estimator.
        ax : matplotlib Axes, default=None
            Where to draw. Give those of an earlier display to compare two models.

        Returns
        -------
        display : ReliabilityDisplay
            What was drawn.

        Raises
        ------
        TypeError
            If the estimator gives no probabilities.
        """
        model = fitted(estimator, "predict_proba")
        return cls.from_predictions(
            true_labels,
            estimator.predict_proba(X),
            classes=model.classes_,
            n_bins=n_bins,
            strategy=strategy,
            name=type(model).__name__ if name is None else name,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        true_labels: ArrayLike,
        y_proba: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        n_bins: int = 10,
        strategy: str = "uniform",
        name: str | None = None,
        ax: Any = None,
    ) -> Self:
        """Compare probabilities with true labels.

        Parameters
        ----------
        true_labels : array-like of shape (n_samples,)
            The true labels.
        y_proba : array-like of shape (n_samples, n_classes)
            Predicted probabilities.
        classes : array-like of shape (n_classes,), default=None
            The labels of the columns, by default 0, 1, ...
        n_bins : int, default=10
            Number of bins.
        strategy : {"uniform", "quantile"}, default="uniform"
            Bins of equal width, or of about equally many rows.
        name : str, default=None
            Name in the legend.
        ax : matplotlib Axes, default=None
            Where to draw.

        Returns
        -------
        display : ReliabilityDisplay
            What was drawn.

        Raises
        ------
        ValueError
            As :func:`~sklabeldiff.metrics.expected_calibration_error` does.
        """
        bins = confidence_bins(true_labels, y_proba, n_bins, strategy, classes)
        n_rows = bins.n_rows[bins.n_rows > 0]
        confidence, right = (
            sums[bins.n_rows > 0] / n_rows for sums in (bins.confidence, bins.right)
        )
        display = cls(confidence, right, n_rows, bins.calibration_error, name)
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the curve, and the diagonal where it is the first one.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. By default on a new figure.

        Returns
        -------
        display : ReliabilityDisplay
            Itself.
        """
        (self.ax_,) = take_axes(ax, 1, (4.4, 4.0))
        self.figure_ = self.ax_.figure
        n_before = len(self.ax_.containers)
        if not n_before:
            self.ax_.plot(
                [0, 1], [0, 1], color=GREY, linestyle="--", label="as sure as right"
            )
        low, high = self._interval()
        error = f"ECE {self.calibration_error:.3f}"
        self.ax_.errorbar(
            self.confidence,
            self.accuracy,
            # Rounding may put an end of the interval a hair inside.
            yerr=np.maximum([self.accuracy - low, high - self.accuracy], 0),
            color=COLOURS[n_before % len(COLOURS)],
            marker=MARKERS[n_before % len(MARKERS)],
            capsize=2,
            label=error if self.name is None else f"{self.name}, {error}",
        )
        self.ax_.set(
            xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02)
        )
        self.ax_.legend(fontsize=8)
        return self

    def _interval(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Wilson's interval of the accuracy of each bin."""
        n, p = self.n_rows, self.accuracy
        middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
        return middle - half, middle + half
