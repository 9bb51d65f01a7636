"""The loss over the epochs of a training, and what happened on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any, Self

import numpy as np

from sklabeldiff.plotting._style import COLOURS, GREY, fitted, take_axes

MAX_MARKED = 60  # epochs of a curve whose points are drawn


class TrainingCurveDisplay:
    """The loss over the epochs of a training.

    A method that trains several networks, such as DTM, has a panel for each. A line
    marks each refresh of the beliefs: solid where it was carried out, dotted where it
    was not, because model and beliefs disagreed or a class would have been emptied.

    Parameters
    ----------
    history : list of dict
        ``history_`` of a fitted classifier: "epoch" and "loss", and "stage" where there
        are several.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The picture.
    axes_ : ndarray of shape (n_trainings,) of matplotlib Axes
        One for each network trained.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff import DDMPClassifier
    >>> from sklabeldiff.plotting import TrainingCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = DDMPClassifier(max_epochs=10, random_state=0).fit(X, y)
    >>> display = TrainingCurveDisplay.from_estimator(clf)
    >>> display.axes_[0].get_ylabel()
    'loss'
    """

    def __init__(self, history: list[dict[str, Any]]) -> None:
        self.history = history

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Show the training of a fitted classifier.

        Parameters
        ----------
        estimator : classifier or Pipeline
            Fitted, with ``history_``.
        ax : array-like of matplotlib Axes, default=None
            Where to draw, one for each network trained.

        Returns
        -------
        display : TrainingCurveDisplay
            What was drawn.

        Raises
        ------
        TypeError
            If the estimator keeps no history.
        """
        return cls.from_predictions(fitted(estimator, "history_").history_, ax=ax)

    @classmethod
    def from_predictions(
        cls, history: Sequence[dict[str, Any]], *, ax: Any = None
    ) -> Self:
        """Show a history, such as one that was kept from an earlier fit.

        Parameters
        ----------
        history : sequence of dict
            As ``history_`` has it.
        ax : array-like of matplotlib Axes, default=None
            Where to draw, one for each network trained.

        Returns
        -------
        display : TrainingCurveDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If no entry has a loss, or one has no epoch.
        TypeError
            If an entry is no dict, or its epoch or loss no number.
        """
        return cls(_checked(history)).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a panel for each training.

        Parameters
        ----------
        ax : array-like of matplotlib Axes, default=None
            Where to draw. By default on a new figure.

        Returns
        -------
        display : TrainingCurveDisplay
            Itself.
        """
        trainings = _trainings(self.history)
        self.axes_ = take_axes(ax, len(trainings), (4.2, 3.2))
        self.figure_ = self.axes_[0].figure
        for axes, logs in zip(self.axes_, trainings, strict=True):
            learnt = [log for log in logs if "loss" in log]
            axes.plot(
                [log["epoch"] for log in learnt],
                [log["loss"] for log in learnt],
                color=COLOURS[0],
                marker="o" if len(learnt) <= MAX_MARKED else None,
                markersize=3,
            )
            self._mark_refreshes(axes, [log for log in logs if "refreshed" in log])
            axes.set_xlabel("epoch")
            if len(trainings) > 1:
                axes.set_title(str(logs[0].get("stage", "")))
        self.axes_[0].set_ylabel("loss")
        return self

    @staticmethod
    def _mark_refreshes(axes: Any, refreshes: list[dict[str, Any]]) -> None:
        """Draw a line for each refresh, and a legend entry for each kind."""
        kinds = {True: ("-", "beliefs refreshed"), False: (":", "refresh withheld")}
        for done, (style, label) in kinds.items():
            epochs = [log["epoch"] for log in refreshes if log["refreshed"] is done]
            for i, epoch in enumerate(epochs):
                axes.axvline(
                    epoch,
                    color=GREY,
                    linestyle=style,
                    zorder=0,
                    label=None if i else label,
                )
        if refreshes:
            axes.legend(fontsize=8)


def _checked(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Refuse what is no history."""
    logs = list(history)
    for i, log in enumerate(logs):
        if not isinstance(log, Mapping):
            raise TypeError(f"entry {i} of history is {log!r:.60}, not a dict.")
        if "epoch" not in log:
            raise ValueError(f'entry {i} of history has no "epoch": {log!r:.60}.')
        for name in ("epoch", "loss"):
            value = log.get(name, 0)
            if not isinstance(value, Real) or math.isinf(value):
                raise TypeError(
                    f"entry {i} of history has the {name} {value!r:.60}, which is no "
                    "number that can be drawn."
                )
    if not any("loss" in log for log in logs):
        raise ValueError('No entry of history has a "loss".')
    return logs


def _trainings(history: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Cut a history where the epochs begin anew."""
    epochs = np.array([log["epoch"] for log in history])
    starts = np.flatnonzero(np.diff(epochs) < 0) + 1
    bounds = [0, *starts.tolist(), len(history)]
    return [history[a:b] for a, b in pairwise(bounds)]
