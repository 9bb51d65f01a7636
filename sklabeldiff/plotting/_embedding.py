"""A map of the rows in which those with doubtful labels stand out."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_consistent_length

from sklabeldiff._issues import self_consistency
from sklabeldiff._parameters import check_number
from sklabeldiff._report.beliefs import judge, read_labels
from sklabeldiff.plotting._style import (
    COLOURS,
    GREY,
    MARKERS,
    finite_numbers,
    name_texts,
    take_axes,
)

MAX_CLASSES = 2 * len(COLOURS)  # each colour twice, with another shape
NAMED_SUSPECTS = 12  # whose row number is written beside them


class EmbeddingDisplay:
    """A map of the rows in which those with doubtful labels stand out.

    Rows that are alike lie together; colour and shape are the believed class. Rings
    mark the rows whose given labels are doubted most: those that are believed to have a
    label which was not given.

    Parameters
    ----------
    points : ndarray of shape (n_rows, 2)
        Places on the map.
    believed : ndarray of shape (n_rows,)
        Believed label of each row.
    suspects : ndarray of shape (n_suspects,), int
        Rows that are doubted, the most doubted first.
    classes : ndarray of shape (n_classes,)
        All labels.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The picture.
    ax_ : matplotlib Axes
        Its axes.

    See Also
    --------
    sklabeldiff.report.label_report : The same rows as a page to work through.

    Notes
    -----
    A map in two dimensions loses most of the distances. Rows that lie apart on it are
    apart; those that lie together need not be alike.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff.baselines import PLKNNClassifier
    >>> from sklabeldiff.plotting import EmbeddingDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> y[[7, 30]] = 2  # two mistakes
    >>> clf = PLKNNClassifier().fit(X, y)
    >>> display = EmbeddingDisplay.from_estimator(clf, X, y)
    >>> sorted(display.suspects[:2].tolist())
    [7, 30]
    """

    def __init__(
        self,
        points: NDArray[Any],
        believed: NDArray[Any],
        suspects: NDArray[Any],
        classes: NDArray[Any],
    ) -> None:
        self.points = points
        self.believed = believed
        self.suspects = suspects
        self.classes = classes

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        cv: Any = None,
        n_suspects: int = 20,
        embedding: Any = None,
        ax: Any = None,
    ) -> Self:
        """Map rows and the doubts that a classifier has about their labels.

        Parameters
        ----------
        estimator : classifier or Pipeline
            Has ``predict_proba``. Fitted, unless `cv` is given.
        X : array-like of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            Their given labels or candidate sets, in any form that fit takes.
        cv : int, splitter or iterable, default=None
            Given, every row is judged by a clone that has not seen it.
        n_suspects : int, default=20
            How many rows to mark at most.
        embedding : transformer or array-like of shape (n_samples, 2), default=None
            Makes the map of the features that the classifier sees, such as
            scikit-learn's ``TSNE(random_state=0)``; or the map itself. By default the
            first two principal components.
        ax : matplotlib Axes, default=None
            Where to draw.

        Returns
        -------
        display : EmbeddingDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If `X` and `y` differ in length, or `y` is refused.
        TypeError
            If the estimator has no ``predict_proba``.
        """
        given = read_labels(estimator, y, cv)
        check_consistent_length(X, given.Y)
        posterior, Z = judge(estimator, X, given, cv, with_features=True)
        return cls.from_predictions(
            _map(Z, embedding),
            given.classes[posterior.argmax(axis=1)],
            self_consistency(given.mask, posterior),
            classes=given.classes,
            n_suspects=n_suspects,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        points: ArrayLike,
        believed: ArrayLike,
        score: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        n_suspects: int = 20,
        ax: Any = None,
    ) -> Self:
        """Draw a map that was made elsewhere.

        Parameters
        ----------
        points : array-like of shape (n_samples, 2)
            Places on the map.
        believed : array-like of shape (n_samples,)
            Believed label of each row.
        score : array-like of shape (n_samples,)
            Probability that the true label is among the given ones, such as "score" of
            ``label_issues``. Rows below one half are suspects.
        classes : array-like of shape (n_classes,), default=None
            All labels. By default those that are believed, in numpy's order.
        n_suspects : int, default=20
            How many rows to mark at most.
        ax : matplotlib Axes, default=None
            Where to draw.

        Returns
        -------
        display : EmbeddingDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If the shapes do not agree.
        """
        places, labels, doubt = (
            finite_numbers("points", points),
            np.asarray(believed),
            finite_numbers("score", score),
        )
        if places.shape != (len(labels), 2) or doubt.shape != labels.shape:
            raise ValueError(
                f"points has shape {places.shape}, believed {labels.shape} and score "
                f"{doubt.shape}; they should be (n, 2), (n,) and (n,)."
            )
        check_number("n_suspects", n_suspects, 0, integer=True)
        order = np.argsort(doubt, kind="stable")
        suspects = order[doubt[order] < 0.5][:n_suspects]
        known = np.unique(labels) if classes is None else np.asarray(classes)
        return cls(places, labels, suspects, known).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. By default on a new figure.

        Returns
        -------
        display : EmbeddingDisplay
            Itself.
        """
        (self.ax_,) = take_axes(ax, 1, (6.4, 5.0))
        self.figure_ = self.ax_.figure
        counts = np.array([(self.believed == label).sum() for label in self.classes])
        largest = np.sort(np.argsort(-counts, kind="stable")[:MAX_CLASSES])
        if len(self.classes) > MAX_CLASSES:
            rest = ~np.isin(self.believed, self.classes[largest])
            self._scatter(rest, f"{len(self.classes) - MAX_CLASSES} others", GREY, ".")
        names = name_texts(self.classes)
        for rank, j in enumerate(largest):
            mine = self.believed == self.classes[j]
            turn, place = divmod(rank, len(COLOURS))
            shape = MARKERS[(place + turn) % len(MARKERS)]
            self._scatter(mine, names[j], COLOURS[place], shape)
        marked = self.points[self.suspects]
        self.ax_.scatter(
            *marked.T,
            s=90,
            facecolors="none",
            edgecolors="black",
            linewidths=1.4,
            label="suspect",
        )
        for row, place in zip(self.suspects[:NAMED_SUSPECTS], marked, strict=False):
            self.ax_.annotate(
                str(row), place, (6, 4), textcoords="offset points", fontsize=8
            )
        self.ax_.set(xticks=[], yticks=[])
        self.ax_.legend(
            title="believed",
            fontsize=8,
            markerscale=1.4,
            loc="center left",
            bbox_to_anchor=(1.01, 0.5),
        )
        return self

    def _scatter(
        self, rows: NDArray[np.bool_], label: str, colour: str, marker: str
    ) -> None:
        """Draw the rows of one class."""
        size = 18 if len(self.points) < 2000 else 6
        self.ax_.scatter(
            *self.points[rows].T,
            s=size,
            color=colour,
            marker=marker,
            alpha=0.7,
            linewidths=0,
            label=label,
            rasterized=True,
        )


def _map(Z: Any, embedding: Any) -> NDArray[Any]:
    """Places of rows on the map. (n, p) -> (n, 2)."""
    if embedding is None:
        embedding = PCA(2, random_state=0)
    if hasattr(embedding, "fit_transform"):
        return np.asarray(embedding.fit_transform(Z))[:, :2]
    return np.asarray(embedding)
