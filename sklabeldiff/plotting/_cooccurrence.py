"""Which classes are candidates together."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklabeldiff._label_columns import candidate_mask
from sklabeldiff._parameters import check_number
from sklabeldiff.plotting._style import (
    draw_heat_map,
    fitted,
    name_texts,
    table_of,
    take_axes,
)


class CooccurrenceDisplay:
    """Which classes are candidates together.

    Entry (i, j) is the share of the sets with class i that also hold class j. A dark
    square is a pair that annotators confuse; a dark column is a class that is added to
    everything. The diagonal, always 1, is left grey, and the largest of the others is
    the darkest blue. Rows that may be any class say nothing and are left out.

    Parameters
    ----------
    shares : ndarray of shape (n_classes, n_classes)
        The entries. A class that is never a candidate has a row of zeros.
    n_sets : ndarray of shape (n_classes,), int
        Number of sets that hold each class.
    classes : ndarray of shape (n_classes,)
        Labels of rows and columns.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The picture.
    ax_ : matplotlib Axes
        Its axes.
    image_ : matplotlib AxesImage
        The heat map.
    shown_ : ndarray of shape (n_shown,), int
        Columns of the classes that are shown.

    See Also
    --------
    TransitionMatrixDisplay : What a model believes of how labels come about.

    Examples
    --------
    >>> from sklabeldiff.plotting import CooccurrenceDisplay
    >>> sets = [{"cat", "dog"}, {"cat"}, {"dog", "cat"}, {"owl"}]
    >>> display = CooccurrenceDisplay.from_predictions(sets)
    >>> display.shares[0].round(2).tolist()  # of three sets with a cat, two have a dog
    [1.0, 0.67, 0.0]
    """

    def __init__(
        self, shares: NDArray[Any], n_sets: NDArray[Any], classes: NDArray[Any]
    ) -> None:
        self.shares = shares
        self.n_sets = n_sets
        self.classes = classes

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, max_classes: int = 30, ax: Any = None
    ) -> Self:
        """Show the sets that a classifier was fitted on.

        Parameters
        ----------
        estimator : classifier or Pipeline
            Fitted, with ``candidate_sets_``.
        max_classes : int, default=30
            How many classes to show: those with the most company.
        ax : matplotlib Axes, default=None
            Where to draw.

        Returns
        -------
        display : CooccurrenceDisplay
            What was drawn.

        Raises
        ------
        TypeError
            If the estimator does not keep its sets.
        """
        model = fitted(estimator, "candidate_sets_")
        display = cls(*_count(table_of(model, "candidate_sets_")), model.classes_)
        return display.plot(ax=ax, max_classes=max_classes)

    @classmethod
    def from_predictions(
        cls,
        y: Any,
        *,
        classes: ArrayLike | None = None,
        missing_label: Any = None,
        max_classes: int = 30,
        ax: Any = None,
    ) -> Self:
        """Show candidate sets, before anything is fitted.

        Parameters
        ----------
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            Candidate sets, in any form that
            :func:`~sklabeldiff.targets.encode_candidates` accepts.
        classes : array-like of shape (n_classes,), default=None
            All labels, in the order wanted.
        missing_label : int, float, str or None, default=None
            A value that marks an unlabelled row, besides None and NaN.
        max_classes : int, default=30
            How many classes to show: those with the most company.
        ax : matplotlib Axes, default=None
            Where to draw.

        Returns
        -------
        display : CooccurrenceDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If a row of `y` is refused.
        """
        mask, labels = candidate_mask(y, classes, missing_label)
        return cls(*_count(mask), labels).plot(ax=ax, max_classes=max_classes)

    def plot(self, ax: Any = None, *, max_classes: int = 30) -> Self:
        """Draw the heat map.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. By default on a new figure.
        max_classes : int, default=30
            How many classes to show: those with the most company.

        Returns
        -------
        display : CooccurrenceDisplay
            Itself.
        """
        self.shown_ = np.arange(len(self.classes))
        title = ""
        check_number("max_classes", max_classes, 1, integer=True)
        if len(self.classes) > max_classes:
            company = self.shares * self.n_sets[:, None]  # sets that hold both
            np.fill_diagonal(company, 0)
            most = np.argsort(-company.sum(axis=1), kind="stable")[:max_classes]
            self.shown_ = np.sort(most)
            title = f"{max_classes} of {len(self.classes)} classes"
        names = name_texts(self.classes[self.shown_])
        side = 1.8 + min(6.0, 0.3 * len(names))
        (self.ax_,) = take_axes(ax, 1, (side + 0.6, side))
        self.figure_ = self.ax_.figure
        shares = self.shares[np.ix_(self.shown_, self.shown_)]
        np.fill_diagonal(shares, np.nan)  # always 1, and would drown the rest
        largest = max(float(np.nanmax(shares, initial=0)), 0.01)
        self.image_ = draw_heat_map(self.ax_, shares, names, title, largest)
        self.ax_.set(xlabel="… also hold", ylabel="of the sets with")
        if ax is None:
            self.figure_.colorbar(self.image_, ax=self.ax_, shrink=0.8).set_label(
                "share"
            )
        return self


def _count(mask: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Shares (C, C) and numbers of sets (C,). (n, C)."""
    Y = mask[~mask.all(axis=1)].astype(np.float32)
    together = (Y.T @ Y).astype(float)
    n_sets = together.diagonal()
    return together / np.maximum(n_sets, 1)[:, None], n_sets.astype(int)
