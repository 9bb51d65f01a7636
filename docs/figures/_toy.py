"""A plane with three classes, for the pictures of the methods."""

import numpy as np
from matplotlib.colors import ListedColormap, to_rgb

from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.plotting._style import COLOURS as OKABE_ITO

COLOURS = OKABE_ITO[:3]
CENTRES = np.array([[-0.9, -0.5], [0.9, -0.5], [0.0, 0.9]])
LIMIT = 2.1


def rows(n=180, seed=0):
    """Rows (n, 2) around three centres, and their classes (n,)."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return CENTRES[y] + rng.normal(scale=0.42, size=(n, 2)), y


def rows_with_sets():
    """Return the same rows with candidate sets (n, 3)."""
    X, y = rows()
    return X, y, make_candidate_sets(y, rate=0.55, random_state=0)


def draw_mixtures(ax, X, beliefs):
    """Draw each row in the mixture of the colours of what it is believed to be."""
    mixed = beliefs @ np.array([to_rgb(c) for c in COLOURS])
    ax.scatter(*X.T, c=np.clip(mixed, 0, 1), s=22, edgecolors="0.4", linewidths=0.3)
    frame(ax)


def draw_classes(ax, model, X, y):
    """Draw the predicted class of every place, and the true class of the rows."""
    side = np.linspace(-LIMIT, LIMIT, 150)
    plane = np.array([[a, b] for b in side for a in side])
    predicted = model.predict(plane).astype(int).reshape(150, 150)
    ax.imshow(
        predicted,
        extent=(-LIMIT, LIMIT, -LIMIT, LIMIT),
        origin="lower",
        cmap=ListedColormap(COLOURS),
        vmin=0,
        vmax=2,
        alpha=0.25,
        aspect="auto",
    )
    edges = [COLOURS[k] for k in y]
    ax.scatter(*X.T, s=14, facecolors="none", edgecolors=edges, linewidths=0.9)
    frame(ax)


def frame(ax):
    """Take away ticks, and show the same part of the plane everywhere."""
    ax.set(xticks=[], yticks=[], xlim=(-LIMIT, LIMIT), ylim=(-LIMIT, LIMIT))
