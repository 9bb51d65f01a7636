"""Beliefs over the candidates of some rows, before and after disambiguation."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklabeldiff._label_columns import columns_of, not_a_class
from sklabeldiff._optional import require
from sklabeldiff._parameters import check_number
from sklabeldiff.plotting._style import (
    MAX_TICKS,
    SHARES,
    TRUTH,
    classes_or_numbers,
    finite_numbers,
    fitted,
    name_texts,
    name_ticks,
    table_of,
    take_axes,
)
from sklabeldiff.targets import encode_candidates

CANDIDATE_TINT = 0.06  # of a candidate that nothing is believed of


class BeliefDisplay:
    """Beliefs over the candidates of some rows, before and after disambiguation.

    Two tables with a line for each row and a column for each class. Framed squares are
    candidates, the darker the more believed; a ring marks the true class where it is
    known. Of more than 30 classes, only those that these rows have to do with have a
    column.

    Parameters
    ----------
    before, after : ndarray of shape (n_rows, n_classes)
        Beliefs of the rows shown.
    candidate_sets : ndarray of shape (n_rows, n_classes), bool
        Their candidates.
    rows : ndarray of shape (n_rows,), int
        Their numbers in the data.
    classes : ndarray of shape (n_classes,)
        Labels of the columns.
    true_columns : ndarray of shape (n_rows,), int, default=None
        Column of the true class of each row.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The picture.
    axes_ : ndarray of shape (2,) of matplotlib Axes
        Before, and after.

    See Also
    --------
    DenoisingPathDisplay : How the model comes to its answer.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff import DDMPClassifier
    >>> from sklabeldiff.datasets import make_candidate_sets
    >>> from sklabeldiff.plotting import BeliefDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> sets = make_candidate_sets(y, rate=0.5, random_state=0)
    >>> clf = DDMPClassifier(max_epochs=5, random_state=0).fit(X, sets)
    >>> display = BeliefDisplay.from_estimator(clf, true_labels=y)
    >>> display.after.shape
    (16, 3)
    """

    def __init__(
        self,
        before: NDArray[Any],
        after: NDArray[Any],
        candidate_sets: NDArray[np.bool_],
        rows: NDArray[Any],
        classes: NDArray[Any],
        true_columns: NDArray[Any] | None = None,
    ) -> None:
        self.before = before
        self.after = after
        self.candidate_sets = candidate_sets
        self.rows = rows
        self.classes = classes
        self.true_columns = true_columns

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        rows: ArrayLike | None = None,
        n_rows: int = 16,
        true_labels: ArrayLike | None = None,
        ax: Any = None,
    ) -> Self:
        """Show what a fitted classifier came to believe of training rows.

        Parameters
        ----------
        estimator : classifier or Pipeline
            Fitted, with ``candidate_sets_`` and ``label_distribution_``. The beliefs
            before are its ``initial_label_distribution_``, or equal ones.
        rows : array-like of shape (n_rows,), int, default=None
            Training rows to show. By default those whose beliefs changed most.
        n_rows : int, default=16
            How many to show, if `rows` does not say which.
        true_labels : array-like of shape (n_samples,), default=None
            True labels of all training rows, where they are known.
        ax : array-like of 2 matplotlib Axes, default=None
            Where to draw.

        Returns
        -------
        display : BeliefDisplay
            What was drawn.

        Raises
        ------
        TypeError
            If the estimator keeps no beliefs.
        """
        model = fitted(estimator, "candidate_sets_", "label_distribution_")
        return cls.from_predictions(
            table_of(model, "candidate_sets_"),
            table_of(model, "label_distribution_"),
            before=table_of(model, "initial_label_distribution_"),
            classes=model.classes_,
            rows=rows,
            n_rows=n_rows,
            true_labels=true_labels,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        y: Any,
        y_proba: ArrayLike,
        *,
        before: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        rows: ArrayLike | None = None,
        n_rows: int = 16,
        true_labels: ArrayLike | None = None,
        ax: Any = None,
    ) -> Self:
        """Show beliefs beside the candidate sets that they are about.

        Parameters
        ----------
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            Candidate sets, in any form that
            :func:`~sklabeldiff.targets.encode_candidates` accepts.
        y_proba : array-like of shape (n_samples, n_classes)
            Beliefs after.
        before : array-like of shape (n_samples, n_classes), default=None
            Beliefs before. By default equal ones over the candidates, or the weights of
            `y`.
        classes : array-like of shape (n_classes,), default=None
            All labels, in the order of the columns.
        rows : array-like of shape (n_rows,), int, default=None
            Rows to show. By default those whose beliefs changed most.
        n_rows : int, default=16
            How many to show, if `rows` does not say which.
        true_labels : array-like of shape (n_samples,), default=None
            True labels of all rows.
        ax : array-like of 2 matplotlib Axes, default=None
            Where to draw.

        Returns
        -------
        display : BeliefDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If the shapes do not agree, or a true label is not among the classes.
        """
        is_matrix = getattr(y, "ndim", 1) == 2 and not hasattr(y, "columns")
        Y, labels = encode_candidates(y, None if is_matrix else classes)
        if is_matrix:
            labels = classes_or_numbers(classes, Y.shape[1])
        after = finite_numbers("y_proba", y_proba)
        start = Y / Y.sum(axis=1, keepdims=True) if before is None else before
        start = finite_numbers("before", start)
        for name, S in {"y_proba": after, "before": start}.items():
            if S.shape != Y.shape:
                raise ValueError(f"{name} has shape {S.shape}; y means {Y.shape}.")
        if rows is None:
            check_number("n_rows", n_rows, 1, integer=True)
            changed = np.abs(after - start).sum(axis=1)
            rows = np.argsort(-changed, kind="stable")[:n_rows]
        shown = np.asarray(rows)
        if shown.ndim != 1 or not np.isin(shown, np.arange(len(Y))).all():
            raise ValueError(f"rows must be numbers of rows below {len(Y)}.")
        shown = shown.astype(np.intp)
        truth = None
        if true_labels is not None:
            known = np.asarray(true_labels)
            truth = columns_of(known, labels)
            if (truth < 0).any():
                raise not_a_class("true_labels", known, truth, labels)
            truth = truth[shown]
        display = cls(start[shown], after[shown], Y[shown] > 0, shown, labels, truth)
        return display.plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw the two tables.

        Parameters
        ----------
        ax : array-like of 2 matplotlib Axes, default=None
            Where to draw. By default on a new figure.

        Returns
        -------
        display : BeliefDisplay
            Itself.
        """
        n_rows = len(self.rows)
        columns = self._columns()
        n_classes = len(columns)
        size = (1.2 + min(8, 0.32 * n_classes), 1.2 + 0.26 * n_rows)
        self.axes_ = take_axes(ax, 2, size)
        self.figure_ = self.axes_[0].figure
        panels = {"before": self.before, "after": self.after}
        for axes, (title, S) in zip(self.axes_, panels.items(), strict=True):
            tint = np.where(self.candidate_sets, np.maximum(S, CANDIDATE_TINT), S)
            axes.imshow(tint[:, columns], cmap=SHARES, vmin=0, vmax=1, aspect="auto")
            axes.set(title=title, xlabel="class")
            _frame(axes, self.candidate_sets[:, columns])
            if self.true_columns is not None:
                axes.scatter(
                    np.searchsorted(columns, self.true_columns),
                    np.arange(n_rows),
                    s=30,
                    facecolors="none",
                    edgecolors=TRUTH,
                    linewidths=1.6,
                )
            name_ticks(axes.xaxis, name_texts(self.classes[columns]))
            axes.set_yticks([])
        name_ticks(self.axes_[0].yaxis, [str(row) for row in self.rows])
        self.axes_[0].set_ylabel("row")
        return self

    def _columns(self) -> NDArray[np.intp]:
        """Classes that are shown, in their order. -> (m,)."""
        if len(self.classes) <= MAX_TICKS:
            return np.arange(len(self.classes))
        concerned = np.array(self.candidate_sets.any(axis=0))
        concerned[self.after.argmax(axis=1)] = True
        if self.true_columns is not None:
            concerned[self.true_columns] = True
        return np.flatnonzero(concerned)


def _frame(axes: Any, candidates: NDArray[np.bool_]) -> None:
    """Draw a thin frame around the squares of candidates. (n, m)."""
    rows, columns = np.nonzero(candidates)
    x, y = columns - 0.5, rows - 0.5
    corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1), (x, y)]
    lines = np.array(corners).transpose(2, 0, 1)  # (n_candidates, 5, 2)
    collections = require("matplotlib.collections", extra="plot")
    axes.add_collection(
        collections.LineCollection(list(lines), colors="0.6", linewidths=0.6)
    )
