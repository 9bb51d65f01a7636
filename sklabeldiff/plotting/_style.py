"""What the pictures share: colours, class names, axes, and heat maps of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import check_is_fitted

from sklabeldiff._label_forms import check_classes, make_missing
from sklabeldiff._optional import require
from sklabeldiff._parameters import as_numbers
from sklabeldiff._pipelines import last_step

# Okabe and Ito's, without the yellow, which vanishes on white.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
MAX_COLUMNS = 4  # panels side by side
GREY, TRUTH = "#B0B0B0", "#D55E00"
SHARES = "Blues"  # light to dark in one hue: reads the same in grey
MAX_NAME = 18  # characters of a class name
MAX_TICKS = 30  # names along an axis
MAX_DENSE = 2**26  # entries of a sparse array that is made dense to be drawn
MAX_WRITTEN = 12  # classes of a heat map whose values are written into it


def pyplot() -> Any:
    """Import matplotlib's pyplot, or say which extra installs it."""
    return require("matplotlib.pyplot", extra="plot")


def take_axes(ax: Any, n: int, size: tuple[float, float]) -> NDArray[Any]:
    """Axes to draw n panels on: those given, or new ones side by side. -> (n,).

    `size` in inches is that of one panel.
    """
    if ax is None:
        n_columns = min(n, MAX_COLUMNS)
        n_lines = -(-n // n_columns)
        width, height = size
        _, axes = pyplot().subplots(
            n_lines,
            n_columns,
            figsize=(width * n_columns, height * n_lines),
            squeeze=False,
            layout="constrained",
        )
        for spare in axes.ravel()[n:]:
            spare.remove()
        return axes.ravel()[:n]
    axes = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if len(axes) != n:
        raise ValueError(
            f"ax has {len(axes)} axes, but {n} panels are to be drawn. Give as many, "
            "such as plt.subplots(1, n)[1], or leave ax out."
        )
    return axes


def finite_numbers(name: str, values: Any) -> NDArray[np.float64]:
    """Array of finite numbers, which the user calls `name`."""
    array = as_numbers(name, values)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity.")
    return array


def name_texts(classes: Any) -> list[str]:
    """Class names to be drawn: short, on one line, never taken for mathematics."""
    texts = []
    for name in np.asarray(classes).tolist():
        text = " ".join(str(name).split())
        if len(text) > MAX_NAME:
            text = text[: MAX_NAME - 1] + "…"
        text = text.replace("$", r"\$")
        # matplotlib leaves what begins with an underscore out of legends.
        texts.append(f" {text}" if text.startswith("_") else text)
    return texts


def name_ticks(axis: Any, texts: list[str]) -> None:
    """Name the positions 0, 1, ... of an axis; every second, third... where many."""
    step = -(-len(texts) // MAX_TICKS)
    axis.set_ticks(range(0, len(texts), step), texts[::step])
    if axis.axis_name == "x" and max(map(len, texts)) > 2:
        axis.set_tick_params(rotation=90 if len(texts) > 6 else 45)


def draw_heat_map(
    ax: Any, values: NDArray[Any], names: list[str], title: str, largest: float = 1
) -> Any:
    """Draw shares of classes as a table of squares; returns the image. (C, C).

    NaN is drawn grey. `largest` is the darkest value.
    """
    image = ax.imshow(values, cmap=SHARES, vmin=0, vmax=largest, aspect="equal")
    ax.set_facecolor("0.9")
    name_ticks(ax.xaxis, names)
    name_ticks(ax.yaxis, names)
    ax.set_title(title)
    if len(names) <= MAX_WRITTEN:
        for (i, j), value in np.ndenumerate(values):
            text = f"{value:.2f}".removeprefix("0") if value < 0.995 else "1"
            colour = "white" if value > largest / 2 else "black"
            if value >= 0.005:  # not NaN, and no .00
                ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=7)
    return image


def fitted(estimator: Any, *names: str) -> Any:
    """Return the fitted classifier of an estimator that must have these attributes."""
    model = last_step(estimator)
    check_is_fitted(model)
    missing = [name for name in names if not hasattr(model, name)]
    if missing:
        raise TypeError(
            f"{type(model).__name__} has no {missing[0]}, of which this picture is "
            "made. Its page of the documentation says which estimators have it."
        )
    return model


def table_of(model: Any, name: str) -> Any:
    """Return a fitted table; a sparse one made dense, where one can look at that.

    Raises
    ------
    ValueError
        If it is too large.
    """
    table: Any = getattr(model, name, None)
    if not issparse(table):
        return table
    if np.prod(table.shape) > MAX_DENSE:
        n, m = table.shape
        raise ValueError(
            f"{name} is a sparse array of {n} x {m}, too large to draw. Take the rows "
            "and columns to look at out of it, .toarray(), and use from_predictions."
        )
    return table.toarray()


def classes_or_numbers(classes: Any, n_classes: int) -> NDArray[Any]:
    """Labels of the columns; 0, 1, ... where none are given. -> (C,)."""
    if classes is None:
        return np.arange(n_classes)
    labels = check_classes(classes, make_missing(None), "classes")
    if len(labels) != n_classes:
        raise ValueError(
            f"classes has {len(labels)} labels, but there are {n_classes} columns."
        )
    return labels
