"""The label of a row on its way from the noise to the answer."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sklabeldiff._pipelines import before_last
from sklabeldiff.plotting._style import (
    COLOURS,
    GREY,
    LINES,
    MARKERS,
    classes_or_numbers,
    finite_numbers,
    fitted,
    name_texts,
    take_axes,
)

MAX_LABELLED = 4  # classes of a row that get a colour and a name


class DenoisingPathDisplay:
    """How the label of a row takes shape over the steps of the reverse diffusion.

    One panel a row, one line a class: the entry of that class in the label vector, from
    the prior mean on the left, where nothing but neighbours is known, to the answer on
    the right. The classes that end highest, and the one that began highest, are named;
    the others are grey.

    Parameters
    ----------
    steps : ndarray of shape (n_states,), int
        Diffusion step of each state, falling to 0.
    states : ndarray of shape (n_rows, n_states, n_classes)
        Label vectors of each row.
    classes : ndarray of shape (n_classes,)
        Labels of the entries.
    titles : list of str
        Title of each panel.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The picture.
    axes_ : ndarray of shape (n_rows,) of matplotlib Axes
        One for each row.

    See Also
    --------
    sklabeldiff.DDMPClassifier.denoising_path : The numbers.
    BeliefDisplay : What was believed of training rows before and after.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff import DDMPClassifier
    >>> from sklabeldiff.plotting import DenoisingPathDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = DDMPClassifier(max_epochs=5, random_state=0).fit(X, y)
    >>> display = DenoisingPathDisplay.from_estimator(clf, X[[0, 70, 133]])
    >>> display.states.shape
    (3, 11, 3)
    """

    def __init__(
        self,
        steps: NDArray[Any],
        states: NDArray[Any],
        classes: NDArray[Any],
        titles: list[str],
    ) -> None:
        self.steps = steps
        self.states = states
        self.classes = classes
        self.titles = titles

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        titles: list[str] | None = None,
        ax: Any = None,
    ) -> Self:
        """Show how a fitted DDMPClassifier comes to its answer for some rows.

        Parameters
        ----------
        estimator : DDMPClassifier or Pipeline
            Fitted, with ``denoising_path``.
        X : array-like of shape (n_rows, n_features)
            The rows: a few.
        titles : list of str, default=None
            Title of each panel. By default the predicted label.
        ax : array-like of n_rows matplotlib Axes, default=None
            Where to draw.

        Returns
        -------
        display : DenoisingPathDisplay
            What was drawn.

        Raises
        ------
        TypeError
            If the estimator diffuses no labels.
        """
        model = fitted(estimator, "denoising_path")
        steps, states = model.denoising_path(before_last(estimator, X))
        return cls.from_predictions(
            steps, states, classes=model.classes_, titles=titles, ax=ax
        )

    @classmethod
    def from_predictions(
        cls,
        steps: ArrayLike,
        states: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        titles: list[str] | None = None,
        ax: Any = None,
    ) -> Self:
        """Show label vectors along a reverse chain.

        Parameters
        ----------
        steps : array-like of shape (n_states,), int
            Diffusion step of each state.
        states : array-like of shape (n_rows, n_states, n_classes)
            Label vectors.
        classes : array-like of shape (n_classes,), default=None
            Labels of the entries, by default 0, 1, ...
        titles : list of str, default=None
            Title of each panel. By default the class whose entry ends nearest to 1.
        ax : array-like of n_rows matplotlib Axes, default=None
            Where to draw.

        Returns
        -------
        display : DenoisingPathDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If the shapes do not agree.
        """
        path, at = finite_numbers("states", states), finite_numbers("steps", steps)
        if path.ndim != 3 or at.shape != path.shape[1:2]:
            raise ValueError(
                f"states has shape {path.shape} and steps {at.shape}; they should be "
                "(n_rows, n_states, n_classes) and (n_states,)."
            )
        labels = classes_or_numbers(classes, path.shape[2])
        if titles is None:
            nearest = np.abs(path[:, -1] - 1).argmin(axis=1)
            titles = [name_texts(labels)[j] for j in nearest]
        return cls(at, path, labels, list(titles)).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a panel for each row.

        Parameters
        ----------
        ax : array-like of n_rows matplotlib Axes, default=None
            Where to draw. By default on a new figure.

        Returns
        -------
        display : DenoisingPathDisplay
            Itself.
        """
        self.axes_ = take_axes(ax, len(self.states), (3.1, 2.8))
        self.figure_ = self.axes_[0].figure
        names = name_texts(self.classes)
        for axes, path, title in zip(self.axes_, self.states, self.titles, strict=True):
            named = self._named(path)
            for j in np.setdiff1d(np.arange(path.shape[1]), named):
                axes.plot(self.steps, path[:, j], color=GREY, linewidth=0.8, zorder=1)
            for rank, j in enumerate(named):
                axes.plot(
                    self.steps,
                    path[:, j],
                    color=COLOURS[rank],
                    linestyle=LINES[rank % len(LINES)],
                    marker=MARKERS[rank],
                    markersize=4,
                    label=names[j],
                )
            axes.set(title=title, xlabel="diffusion step", ylim=(-0.3, 1.3))
            axes.invert_xaxis()
            axes.legend(fontsize=8, handlelength=3)
        self.axes_[0].set_ylabel("entry of the label vector")
        return self

    @staticmethod
    def _named(path: NDArray[Any]) -> NDArray[np.intp]:
        """Classes worth a name, the answer first. (n_states, C) -> (m,)."""
        order = np.argsort(np.abs(path[-1] - 1), kind="stable")[: MAX_LABELLED - 1]
        first = int(path[0].argmax())
        return order if first in order else np.append(order, first)
