"""Generated rows beside real ones: Fréchet distance, density and coverage.

Columns are taken as they are: scaling, or features of a network, is the caller's
choice. Pairs of rows are looked at in blocks; no array is n x n.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, svdvals
from scipy.spatial.distance import cdist
from sklearn.utils import (
    check_consistent_length,
    check_scalar,
    gen_batches,
)

from sklabeldiff._label_columns import one_label_a_row
from sklabeldiff._rows import check_table

MAX_BLOCK_ENTRIES = 2**20  # distances looked at together: 8 MB
Floats = NDArray[np.float64]


class DensityCoverage(NamedTuple):
    """What `density_coverage` returns."""

    density: float
    coverage: float


class _Pair(NamedTuple):
    """Rows to compare, (n, d) and (m, d), and the words that say whose."""

    whose: str
    real: Floats
    made: Floats


def frechet_distance(
    X: ArrayLike,
    X_generated: ArrayLike,
    *,
    y: ArrayLike | None = None,
    y_generated: ArrayLike | None = None,
) -> float:
    r"""Distance between the means and covariances of real and of generated rows.

    With the features of an Inception network as columns this is the Fréchet inception
    distance, FID [1]_. It sees rows that are off the real ones and rows that are
    missing, and cannot tell the two apart.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Real rows.
    X_generated : array-like of shape (n_generated, n_features)
        Generated rows, in the same columns. Their order is immaterial.
    y : array-like of shape (n_samples,), default=None
        The class of each real row. With it the distance is taken class by class, and
        the mean over the classes returned, each class counting the same.
    y_generated : array-like of shape (n_generated,), default=None
        The class of each generated row; to be given together with `y`, and to hold the
        same classes.

    Returns
    -------
    distance : float
        0 or more, the lower the better, in squared units of the columns.

    Raises
    ------
    ValueError
        If the arrays differ in columns, or rows and labels in number; if an entry is
        infinite or NaN; if only one of `y` and `y_generated` is given, a label is
        missing, or a class is in one of them only; if a class, or all of an array, has
        a single row, so that there is no covariance.

    See Also
    --------
    density_coverage : Tells rows that are off from rows that are missing.

    Notes
    -----
    With means :math:`m, m'` and sample covariances :math:`S, S'`, that of two normal
    distributions in the sense of Wasserstein-2, squared:

    .. math::

        \lVert m - m' \rVert^2
            + \operatorname{tr}\bigl(S + S' - 2 (S S')^{1/2}\bigr) .

    The trace of the root is the sum of the singular values of
    :math:`S^{1/2} S'^{1/2}`, which needs no inverse: fewer rows than columns work. But
    the fewer the rows the larger the distance, even of rows of one distribution:
    compare generators on equal numbers of rows. A column in a large unit outweighs the
    others; scale the columns if their units mean nothing. Time grows with the cube of
    the number of columns.

    References
    ----------
    .. [1] M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter, "GANs
           Trained by a Two Time-Scale Update Rule Converge to a Local Nash
           Equilibrium", NeurIPS 2017, arXiv:1706.08500.

    Examples
    --------
    All rows are shifted by 1:

    >>> from sklabeldiff.metrics import frechet_distance
    >>> X = [[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]
    >>> X_generated = [[1.0, 0.0], [3.0, 0.0], [1.0, 2.0], [3.0, 2.0]]
    >>> round(frechet_distance(X, X_generated), 6)
    1.0

    The rows are right and their classes are swapped, which is seen class by class only:

    >>> y, y_generated = ["a", "a", "b", "b"], ["b", "b", "a", "a"]
    >>> round(frechet_distance(X, X), 6)
    0.0
    >>> round(frechet_distance(X, X, y=y, y_generated=y_generated), 6)
    4.0
    """
    pairs = _pairs(X, X_generated, y, y_generated)
    for pair in pairs:
        for name, rows in (("X", pair.real), ("X_generated", pair.made)):
            if len(rows) < 2:
                raise ValueError(
                    f"{name} has a single row{pair.whose}, and a covariance needs 2. "
                    "Pass more rows."
                )
    return float(np.mean([_frechet(pair.real, pair.made) for pair in pairs]))


def density_coverage(
    X: ArrayLike,
    X_generated: ArrayLike,
    *,
    n_neighbors: int = 3,
    y: ArrayLike | None = None,
    y_generated: ArrayLike | None = None,
) -> DensityCoverage:
    r"""How many real rows are near a generated one, and how many have one near.

    Each real row has a ball that reaches to its `n_neighbors`-th nearest other real
    row. Density asks whether generated rows lie where real ones are many, coverage
    whether they reach every real row.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Real rows.
    X_generated : array-like of shape (n_generated, n_features)
        Generated rows, in the same columns. Their order is immaterial.
    n_neighbors : int, default=3
        How far the balls reach, at least 1 and below the number of real rows (of each
        class, where `y` is given).
    y : array-like of shape (n_samples,), default=None
        The class of each real row. With it both figures are taken class by class, and
        their means over the classes returned, each class counting the same.
    y_generated : array-like of shape (n_generated,), default=None
        The class of each generated row; to be given together with `y`, and to hold the
        same classes.

    Returns
    -------
    figures : named tuple (density, coverage)
        Density is 0 or more and about 1 for further rows of the real distribution;
        more than that means rows in the thick of it only. Coverage lies between 0 and
        1, the higher the better.

    Raises
    ------
    ValueError
        If `n_neighbors` is below 1 or too many for the real rows; if the arrays differ
        in columns, or rows and labels in number; if an entry is infinite or NaN; if
        only one of `y` and `y_generated` is given, a label is missing, or a class is in
        one of them only.
    TypeError
        If `n_neighbors` is not an integer.

    See Also
    --------
    frechet_distance : One figure for both faults.

    Notes
    -----
    With :math:`r_i` the distance of the real row :math:`x_i` from its :math:`k`-th
    nearest other real row, and generated rows :math:`g_1, \dots, g_m` [1]_

    .. math::

        \mathrm{density} &= \frac{1}{k m} \sum_{j} \sum_{i}
            1\bigl[\lVert g_j - x_i \rVert \le r_i\bigr] , \\
        \mathrm{coverage} &= \frac{1}{n} \sum_{i}
            1\bigl[\min_j \lVert g_j - x_i \rVert \le r_i\bigr] .

    Rows on the edge of a ball are in it, so that copies of all real rows cover them all
    even where rows are repeated; the density of copies is :math:`1 + 1/k`, where that
    of fresh rows is 1. For as many fresh rows as real ones, and both many, the expected
    coverage is :math:`1 - 2^{-k}`. Fewer generated rows cover less: compare generators
    on equal numbers. Distances are Euclidean: scale the columns if their units mean
    nothing.

    Time grows with the number of real rows times that of all rows, memory with the
    number of rows.

    References
    ----------
    .. [1] M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, "Reliable Fidelity and
           Diversity Metrics for Generative Models", ICML 2020, arXiv:2002.09797.

    Examples
    --------
    The balls of radius 1 around 0 and 1 both hold the generated 0.5; those around 3, of
    radius 2, and 7, of radius 4, are empty, and 20 is in none:

    >>> from sklabeldiff.metrics import density_coverage
    >>> X, X_generated = [[0.0], [1.0], [3.0], [7.0]], [[0.5], [20.0]]
    >>> density_coverage(X, X_generated, n_neighbors=1)
    DensityCoverage(density=1.0, coverage=0.5)
    """
    check_scalar(n_neighbors, "n_neighbors", Integral, min_val=1)
    pairs = _pairs(X, X_generated, y, y_generated)
    for pair in pairs:
        if len(pair.real) <= n_neighbors:
            raise ValueError(
                f"n_neighbors is {n_neighbors}, but the number of rows of X"
                f"{pair.whose} is {len(pair.real)}. Pass more rows, or n_neighbors "
                "below that number."
            )
    figures = [_density_coverage(p.real, p.made, n_neighbors) for p in pairs]
    density, coverage = np.mean(figures, axis=0).tolist()
    return DensityCoverage(density, coverage)


def _frechet(X: Floats, G: Floats) -> float:
    """Squared distance of two normal distributions. (n, d), (m, d) -> scalar."""
    S, S_made = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (X, G))
    shift = X.mean(axis=0) - G.mean(axis=0)
    # Singular values, since roots of eigenvalues of the product would turn rounding
    # errors of 1e-16 into 1e-8.
    overlap = svdvals(_root(S) @ _root(S_made)).sum()
    distance = shift @ shift + np.trace(S) + np.trace(S_made) - 2 * overlap
    return max(float(distance), 0.0)


def _root(S: Floats) -> Floats:
    """Symmetric root of a covariance, of whatever rank. (d, d) -> (d, d)."""
    values, vectors = eigh(S)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _density_coverage(X: Floats, G: Floats, k: int) -> tuple[float, float]:
    """Density and coverage of generated rows. (n, d), (m, d) -> scalars."""
    n_inside = np.empty(len(X), dtype=np.int64)  # generated rows in the ball of each
    step = max(1, MAX_BLOCK_ENTRIES // max(len(X), len(G)))
    for rows in gen_batches(len(X), step):
        # cdist takes differences: a distance is the same to the last bit in either
        # direction and in any block, so that edges are edges.
        radius = np.partition(cdist(X[rows], X), k, axis=1)[:, k]  # 0 is the row itself
        n_inside[rows] = (cdist(X[rows], G) <= radius[:, None]).sum(axis=1)
    return n_inside.sum() / (k * len(G)), (n_inside > 0).mean()


def _pairs(
    X: ArrayLike, X_generated: ArrayLike, y: Any, y_generated: Any
) -> list[_Pair]:
    """Real and generated rows of each class, or all of them without classes."""
    real = check_table(X, "X")
    made = check_table(X_generated, "X_generated")
    if real.shape[1] != made.shape[1]:
        raise ValueError(
            f"X has {real.shape[1]} columns, X_generated has {made.shape[1]}. Give "
            "both the same columns, in the same order."
        )
    if (y is None) != (y_generated is None):
        missing = "y" if y is None else "y_generated"
        raise ValueError(
            f"{missing} is missing. Give y and y_generated for the mean over the "
            "classes, or neither of them."
        )
    if y is None:
        return [_Pair("", real, made)]
    parts = _by_class(real, y, "y")
    parts_made = _by_class(made, y_generated, "y_generated")
    for one, other, name in (
        (parts, parts_made, "X_generated"),
        (parts_made, parts, "X"),
    ):
        absent = [label for label in one if label not in other]
        if absent:
            raise ValueError(
                f"class {absent[0]!r} has no row in {name}. Give rows of the same "
                "classes in both arrays; leave out the classes that one of them lacks."
            )
    return [_Pair(f" of class {c!r}", parts[c], parts_made[c]) for c in parts]


def _by_class(X: Floats, y: ArrayLike, name: str) -> dict[Any, Floats]:
    """Rows of each class. (n, d), (n,) -> label: (n_c, d)."""
    labels = one_label_a_row(y, name)
    check_consistent_length(X, labels)
    classes = np.unique(labels)
    return {c: X[labels == v] for c, v in zip(classes.tolist(), classes, strict=True)}
