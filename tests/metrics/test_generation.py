"""Fréchet distance, density and coverage: closed forms, hand-worked, brute force."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import sqrtm

from sklabeldiff.metrics import _generation, density_coverage, frechet_distance

S1 = np.array([[2.0, 0.5], [0.5, 1.0]])
S2 = np.array([[1.0, -0.8], [-0.8, 3.0]])  # does not commute with S1


def normal(n_rows, n_features=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, n_features))


def with_moments(mean, covariance, n_rows=50, seed=0):
    """Rows whose sample mean and covariance are the given ones."""
    X = normal(n_rows, len(mean), seed)
    X -= X.mean(axis=0)
    whitener = np.linalg.inv(np.linalg.cholesky(np.cov(X, rowvar=False)))
    return mean + X @ whitener.T @ np.linalg.cholesky(covariance).T


def labelled_pair():
    """Real and generated rows of three classes, unequally many."""
    X, G = normal(60, 3), normal(45, 3, seed=1) * 1.2 + 0.1
    y, y_made = np.repeat(list("abc"), (10, 20, 30)), np.tile(list("cab"), 15)
    return X, y, G, y_made


class TestFrechetDistance:
    def test_of_rows_to_themselves_is_zero(self):
        X = normal(40, 5)
        assert frechet_distance(X, X[::-1]) == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("seed", range(5))
    def test_is_not_negative_by_rounding(self, seed):
        X = normal(200, 30, seed)
        assert frechet_distance(X, X) >= 0

    def test_of_a_shift_is_its_squared_length(self):
        X = normal(40, 3)
        assert frechet_distance(X, X + np.array([3, 0, -4])) == pytest.approx(25)

    def test_of_a_stretch_is_that_of_the_deviations(self):
        # commuting covariances: the squared differences of their roots
        X = with_moments([0, 0], np.diag([4.0, 9.0]))
        G = with_moments([0, 0], np.diag([1.0, 25.0]), seed=1)
        assert frechet_distance(X, G) == pytest.approx((2 - 1) ** 2 + (3 - 5) ** 2)

    def test_closed_form_for_two_columns(self):
        # The root of a 2 x 2 matrix M has the trace sqrt(tr M + 2 sqrt(det M)).
        M = S1 @ S2
        root = np.sqrt(np.trace(M) + 2 * np.sqrt(np.linalg.det(M)))
        expected = 0.25 + 4 + np.trace(S1 + S2) - 2 * root
        X, G = with_moments([0, 1], S1), with_moments([0.5, 3], S2, seed=1)
        assert frechet_distance(X, G) == pytest.approx(expected)

    def test_equals_the_root_of_the_product_of_covariances(self):
        X, G = normal(50, 6), normal(30, 6, seed=1) @ normal(6, 6, seed=2)
        S, S_made = np.cov(X, rowvar=False), np.cov(G, rowvar=False)
        shift = X.mean(0) - G.mean(0)
        traces = np.trace(S) + np.trace(S_made) - 2 * np.trace(sqrtm(S @ S_made)).real
        assert frechet_distance(X, G) == pytest.approx(shift @ shift + traces)

    def test_of_fewer_rows_than_columns(self):
        # tr (S S')^1/2 from the rows themselves: singular values of A B^T
        X, G = normal(5, 12), normal(7, 12, seed=1)
        A, B = (rows - rows.mean(0) for rows in (X, G))
        A, B = A / np.sqrt(4), B / np.sqrt(6)
        shift = X.mean(0) - G.mean(0)
        overlap = np.linalg.svd(A @ B.T, compute_uv=False).sum()
        expected = shift @ shift + (A**2).sum() + (B**2).sum() - 2 * overlap
        # the roots of zero eigenvalues are rounding errors of 1e-8
        assert frechet_distance(X, G) == pytest.approx(expected, abs=1e-6)

    def test_of_one_column_is_that_of_means_and_deviations(self):
        X, G = [[0.0], [2.0]], [[5.0], [5.0]]  # variances 2 and 0
        assert frechet_distance(X, G) == pytest.approx(16 + 2)

    def test_is_symmetric(self):
        X, _, G, _ = labelled_pair()
        assert frechet_distance(X, G) == pytest.approx(frechet_distance(G, X))

    def test_by_class_is_the_mean_over_the_classes(self):
        X, y, G, y_made = labelled_pair()
        parts = [frechet_distance(X[y == c], G[y_made == c]) for c in "abc"]
        got = frechet_distance(X, G, y=y, y_generated=y_made)
        assert got == pytest.approx(np.mean(parts))
        assert got != pytest.approx(frechet_distance(X, G), rel=0.1)

    def test_single_row_of_a_class_is_refused(self):
        X, y, G, y_made = labelled_pair()
        y_made[:] = np.where(np.arange(45) == 0, "c", np.tile(list("ab"), 23)[:45])
        with pytest.raises(
            ValueError, match=r"X_generated has a single row of class 'c'.*more rows"
        ):
            frechet_distance(X, G, y=y, y_generated=y_made)

    def test_single_row_is_refused(self):
        with pytest.raises(ValueError, match=r"^X has a single row, .*more rows"):
            frechet_distance([[1.0]], [[1.0], [2.0]])


def brute_force(X, G, k):
    """Row by row and pair by pair."""
    inside = np.zeros((len(X), len(G)), dtype=bool)
    for i, x in enumerate(X):
        others = np.delete(X, i, axis=0)
        radius = sorted(np.sqrt(((others - x) ** 2).sum(1)))[k - 1]
        for j, g in enumerate(G):
            inside[i, j] = np.sqrt(((g - x) ** 2).sum()) <= radius
    return inside.sum() / (k * len(G)), inside.any(axis=1).mean()


class TestDensityCoverage:
    # Nearest two others: 0 -> 1, 3; 1 -> 1, 2; 3 -> 2, 3; 7 -> 4, 5; 12 -> 5, 9
    X = np.array([0.0, 1, 3, 7, 12])[:, None]

    def test_worked_by_hand(self):
        # 1.5 lies in the balls of 1 (radius 1) and 3 (radius 2), 40 in none
        got = density_coverage(self.X, [[1.5], [40.0]], n_neighbors=1)
        assert got == (2 / (1 * 2), 2 / 5)

    def test_worked_by_hand_with_two_neighbours(self):
        # 1.5: 0, 1 and 3; 8: 7 and 12 (radius 9); 20: 12; 40: none
        G = [[1.5], [8.0], [20.0], [40.0]]
        got = density_coverage(self.X, G, n_neighbors=2)
        assert got == (6 / (2 * 4), 1.0)

    def test_edge_belongs_to_the_ball(self):
        got = density_coverage(self.X, [[-1.0]], n_neighbors=1)
        # the edges of the balls of 0; the ball of 1 begins at 0
        assert got == (1.0, 1 / 5)

    def test_has_names(self):
        got = density_coverage(self.X, [[1.5]], n_neighbors=1)
        assert (got.density, got.coverage) == (2.0, 0.4)

    @pytest.mark.parametrize("k", [1, 3])
    @pytest.mark.parametrize("repeats", [1, 5])
    def test_copies_cover_everything(self, k, repeats):
        X = np.repeat(normal(20, 7), repeats, axis=0)
        assert density_coverage(X, X[::-1], n_neighbors=k).coverage == 1

    def test_density_of_copies_counts_the_neighbours_and_the_row(self):
        X = normal(50, 7)
        assert density_coverage(X, X).density == pytest.approx(4 / 3)

    def test_density_and_coverage_of_fresh_rows(self):
        # expectations 1 and 1 - 2^-3; 4 standard errors of five seeds
        got = [density_coverage(normal(600), normal(600, seed=s)) for s in range(1, 6)]
        density, coverage = np.mean(got, axis=0)
        assert density == pytest.approx(1, abs=0.06)
        assert coverage == pytest.approx(7 / 8, abs=0.03)

    def test_one_mode_of_two_is_dense_and_covers_half(self):
        X = np.concatenate([normal(100), normal(100, seed=1) + 100])
        density, coverage = density_coverage(X, normal(100, seed=2) * 0.5)
        assert density > 1
        assert 0.2 < coverage <= 0.5

    @pytest.mark.parametrize("k", [1, 3, 7])
    def test_equals_brute_force(self, k):
        X, _, G, _ = labelled_pair()
        assert density_coverage(X, G, n_neighbors=k) == pytest.approx(
            brute_force(X, G, k)
        )

    @pytest.mark.parametrize("entries", [1, 130, 1000])
    def test_blocks_change_nothing(self, entries, monkeypatch):
        X, _, G, _ = labelled_pair()
        whole = density_coverage(X, G)
        monkeypatch.setattr(_generation, "MAX_BLOCK_ENTRIES", entries)
        assert density_coverage(X, G) == whole

    def test_memory_stays_below_a_table_of_pairs(self):
        X, G = normal(3000), normal(3000, seed=1)
        tracemalloc.start()
        density_coverage(X, G)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3000 * 3000 * 8 / 2

    def test_by_class_is_the_mean_over_the_classes(self):
        X, y, G, y_made = labelled_pair()
        parts = [density_coverage(X[y == c], G[y_made == c]) for c in "abc"]
        got = density_coverage(X, G, y=y, y_generated=y_made)
        assert got == pytest.approx(np.mean(parts, axis=0))
        assert got != pytest.approx(density_coverage(X, G), rel=0.05)

    def test_too_many_neighbours_are_refused(self):
        with pytest.raises(ValueError, match=r"n_neighbors is 5, .* of X is 5"):
            density_coverage(self.X, self.X, n_neighbors=5)
        y = [0, 0, 0, 0, 1]
        with pytest.raises(ValueError, match=r"is 1, .* of X of class 1 is 1.*more"):
            density_coverage(self.X, self.X, n_neighbors=1, y=y, y_generated=y)

    def test_number_of_neighbours_is_a_positive_integer(self):
        with pytest.raises(ValueError, match="n_neighbors == 0, must be >= 1"):
            density_coverage(self.X, self.X, n_neighbors=0)
        with pytest.raises(TypeError, match="n_neighbors"):
            density_coverage(self.X, self.X, n_neighbors=1.5)


@pytest.mark.parametrize("measure", [frechet_distance, density_coverage])
class TestInput:
    def test_forms_of_rows_and_labels_do_not_matter(self, measure):
        X, y, G, y_made = labelled_pair()
        got = measure(
            pd.DataFrame(X),
            G.tolist(),
            y=pd.Series(y, dtype="category"),
            y_generated=y_made.tolist(),
        )
        assert got == measure(X, G, y=y, y_generated=y_made)

    def test_order_of_rows_does_not_matter(self, measure):
        X, y, G, y_made = labelled_pair()
        p, q = np.random.RandomState(0).permutation(60), np.arange(45)[::-1]
        got = measure(X[p], G[q], y=y[p], y_generated=y_made[q])
        assert got == pytest.approx(measure(X, G, y=y, y_generated=y_made))

    def test_columns_must_agree(self, measure):
        with pytest.raises(ValueError, match="X has 2 columns, X_generated has 3"):
            measure(normal(9, 2), normal(9, 3))

    @pytest.mark.parametrize("place", [0, 1])
    def test_nan_is_refused_by_name(self, measure, place):
        arrays = [normal(9), normal(9)]
        arrays[place][3, 1] = np.nan
        name = ("X", "X_generated")[place]
        with pytest.raises(ValueError, match=f"Input {name} contains NaN"):
            measure(*arrays)

    @pytest.mark.parametrize(
        ("given", "missing"), [("y", "y_generated"), ("y_generated", "y")]
    )
    def test_labels_of_one_side_only_are_refused(self, measure, given, missing):
        with pytest.raises(ValueError, match=f"^{missing} is missing. Give y and"):
            measure(normal(9), normal(9), **{given: [0] * 9})

    @pytest.mark.parametrize("given", ["y", "y_generated"])
    def test_number_of_labels_must_be_that_of_rows(self, measure, given):
        labels = {"y": [0] * 9, "y_generated": [0] * 9} | {given: [0] * 8}
        with pytest.raises(ValueError, match=r"inconsistent numbers.*\[9, 8\]"):
            measure(normal(9), normal(9), **labels)

    @pytest.mark.parametrize("given", ["y", "y_generated"])
    def test_missing_label_is_named(self, measure, given):
        labels = {"y": list("abaababab"), "y_generated": list("abaababab")}
        labels[given][4] = None
        with pytest.raises(ValueError, match=f"row 4 of {given} is missing"):
            measure(normal(9), normal(9), **labels)

    @pytest.mark.parametrize(
        ("given", "where"), [("y", "X_generated"), ("y_generated", "X")]
    )
    def test_class_of_one_side_only_is_named(self, measure, given, where):
        labels = {"y": ["a"] * 9, "y_generated": ["a"] * 9}
        labels[given] = ["a"] * 5 + ["owl"] * 4
        match = f"class 'owl' has no row in {where}. Give rows of the same classes"
        with pytest.raises(ValueError, match=match):
            measure(normal(9), normal(9), **labels)
