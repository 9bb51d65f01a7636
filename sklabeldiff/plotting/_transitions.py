"""Transition matrices side by side: of all rows, of groups, of single rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklabeldiff._pipelines import before_last
from sklabeldiff.plotting._style import (
    MAX_COLUMNS,
    classes_or_numbers,
    draw_heat_map,
    finite_numbers,
    fitted,
    name_texts,
    table_of,
    take_axes,
)


class TransitionMatrixDisplay:
    """Transition matrices side by side: how labels go wrong, and where.

    Entry (i, j) is the probability that a row of true class i was given label j. All
    panels share one scale from 0 to 1.

    Parameters
    ----------
    matrices : ndarray of shape (n_matrices, n_classes, n_classes)
        The matrices.
    titles : list of str
        Title of each.
    classes : ndarray of shape (n_classes,)
        Labels of rows and columns.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The picture.
    axes_ : ndarray of shape (n_matrices,) of matplotlib Axes
        One for each matrix.
    images_ : list of matplotlib AxesImage
        The heat maps.

    See Also
    --------
    CooccurrenceDisplay : Which candidates come together.

    Notes
    -----
    The ``transition_matrix_`` of :class:`~sklabeldiff.DDMPClassifier` says with which
    probability a class is a candidate, so that its diagonal is 1 and its rows do not
    sum to 1.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklabeldiff import DTMClassifier
    >>> from sklabeldiff.datasets import make_noisy_labels
    >>> from sklabeldiff.plotting import TransitionMatrixDisplay
    >>> X, y = load_wine(return_X_y=True)
    >>> noisy = make_noisy_labels(X, y, kind="parts", rate=0.3, random_state=0)
    >>> clf = DTMClassifier(max_epochs=5, random_state=0).fit(X, noisy)
    >>> display = TransitionMatrixDisplay.from_estimator(clf, X[[3]], groups=[0, 1])
    >>> display.titles
    ['all rows', 'group 0', 'group 1', 'row 0 of X']
    """

    def __init__(
        self, matrices: NDArray[Any], titles: list[str], classes: NDArray[Any]
    ) -> None:
        self.matrices = matrices
        self.titles = titles
        self.classes = classes

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        groups: Sequence[int] = (),
        ax: Any = None,
    ) -> Self:
        """Show the matrices of a fitted classifier.

        Parameters
        ----------
        estimator : classifier or Pipeline
            Fitted, with ``transition_matrix_``; with ``group_transition_matrices_`` for
            `groups`, and with ``transition`` for `X`, as a DTMClassifier has.
        X : array-like of shape (n_rows, n_features), default=None
            Rows whose own matrices to show beside that of all: a few.
        groups : sequence of int, default=()
            Groups of the estimator whose matrices to show.
        ax : array-like of matplotlib Axes, default=None
            Where to draw, one for each matrix.

        Returns
        -------
        display : TransitionMatrixDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If there is no such group.
        TypeError
            If the estimator has no such matrices.
        """
        model = fitted(estimator, "transition_matrix_")
        matrices, titles = [table_of(model, "transition_matrix_")], ["all rows"]
        if len(groups):
            of_groups = fitted(
                estimator, "group_transition_matrices_"
            ).group_transition_matrices_
            for g in groups:
                if not 0 <= g < len(of_groups):
                    raise ValueError(
                        f"groups has {g}, but there are {len(of_groups)} groups."
                    )
                matrices.append(of_groups[g])
                titles.append(f"group {g}")
        if X is not None:
            of_rows = fitted(estimator, "transition").transition(
                before_last(estimator, X)
            )
            matrices.extend(of_rows)
            titles += [f"row {i} of X" for i in range(len(of_rows))]
        return cls.from_predictions(
            np.stack(matrices), titles=titles, classes=model.classes_, ax=ax
        )

    @classmethod
    def from_predictions(
        cls,
        matrices: ArrayLike,
        *,
        titles: Sequence[str] | None = None,
        classes: ArrayLike | None = None,
        ax: Any = None,
    ) -> Self:
        """Show matrices of any origin.

        Parameters
        ----------
        matrices : array-like of shape (n_matrices, n_classes, n_classes) or \
(n_classes, n_classes)
            Entries between 0 and 1.
        titles : sequence of str, default=None
            Title of each. By default its number, or none where there is one only.
        classes : array-like of shape (n_classes,), default=None
            Labels, by default 0, 1, ...
        ax : array-like of matplotlib Axes, default=None
            Where to draw, one for each matrix.

        Returns
        -------
        display : TransitionMatrixDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If the shapes do not agree.
        """
        T = finite_numbers("matrices", matrices)
        T = T[None] if T.ndim == 2 else T
        if T.ndim != 3 or T.shape[1] != T.shape[2]:
            raise ValueError(f"matrices has shape {T.shape}; they should be square.")
        if titles is None:
            titles = [""] if len(T) == 1 else [str(i) for i in range(len(T))]
        if len(titles) != len(T):
            raise ValueError(f"{len(titles)} titles for {len(T)} matrices.")
        labels = classes_or_numbers(classes, T.shape[1])
        return cls(T, list(titles), labels).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the matrices.

        Parameters
        ----------
        ax : array-like of n_matrices matplotlib Axes, default=None
            Where to draw. By default on a new figure.

        Returns
        -------
        display : TransitionMatrixDisplay
            Itself.
        """
        side = 1.4 + min(4.0, 0.3 * len(self.classes))
        self.axes_ = take_axes(ax, len(self.matrices), (side, side))
        self.figure_ = self.axes_[0].figure
        names = name_texts(self.classes)
        self.images_ = []
        panels = zip(self.axes_, self.matrices, self.titles, strict=True)
        for i, (axes, T, title) in enumerate(panels):
            self.images_.append(draw_heat_map(axes, T, names, title))
            axes.set_xlabel("given")
            if i % MAX_COLUMNS:
                axes.tick_params(labelleft=False)  # as on the left
            else:
                axes.set_ylabel("true")
        if ax is None:
            bar = self.figure_.colorbar(
                self.images_[-1], ax=self.axes_.tolist(), shrink=0.8
            )
            bar.set_label("probability")
        return self
