"""The approximate search, and how DDMP asks for neighbours."""

import pickle

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.neighbors import KNeighborsTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklabeldiff import DDMPClassifier, neighbors
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.neighbors import ApproximateNeighbors, search_by


@parametrize_with_checks([ApproximateNeighbors(n_neighbors=1)])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def clouds():
    """400 rows around 5 centres, and candidate sets."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 5
    X = 4 * rng.standard_normal((5, 6))[y] + rng.standard_normal((400, 6))
    return X, make_candidate_sets(y, rate=0.4, random_state=0), y


def graphs(X, **params):
    exact = KNeighborsTransformer(mode="distance", n_neighbors=7).fit_transform(X)
    ours = ApproximateNeighbors(7, random_state=0, **params).fit_transform(X)
    return ours, exact


class TestSearch:
    def test_all_lists_give_what_the_exact_search_gives(self, clouds):
        ours, exact = graphs(clouds[0], n_probes=10_000)
        np.testing.assert_array_equal(ours.indices, exact.indices)
        np.testing.assert_allclose(ours.data, exact.data, atol=1e-3)
        np.testing.assert_array_equal(ours.indptr, exact.indptr)

    def test_more_lists_find_more(self, clouds, monkeypatch):
        monkeypatch.setattr(neighbors, "LISTS_PER_ROOT", 1)  # of 20 rows each
        found = []
        for n_probes in (1, 4, 16):
            ours, exact = graphs(clouds[0], n_probes=n_probes)
            pairs = zip(*(g.indices.reshape(-1, 8) for g in (ours, exact)), strict=True)
            found.append(np.mean([np.isin(e, o).mean() for o, e in pairs]))
        assert found[0] < found[1] < found[2]
        assert found[0] < 0.9 < found[2]

    def test_row_with_too_few_in_its_lists_is_compared_with_all(self):
        X = np.vstack([np.zeros((50, 2)), 100 + np.arange(8.0).reshape(4, 2)])
        graph = ApproximateNeighbors(7, n_probes=1, random_state=0).fit_transform(X)
        assert (np.diff(graph.indptr) == 8).all()
        assert graph.indices.min() >= 0

    def test_new_rows_find_rows_of_fit(self, clouds):
        X = clouds[0]
        search = ApproximateNeighbors(3, random_state=0).fit(X[:300])
        graph = search.transform(X[300:])
        assert graph.shape == (100, 300)
        np.testing.assert_array_equal(
            search.transform(X[:300]).indices.reshape(300, 4)[:, 0], np.arange(300)
        )

    def test_seed_and_pickle_repeat_the_answer(self, clouds):
        X = clouds[0]
        search = ApproximateNeighbors(n_probes=1, random_state=3).fit(X)
        again = clone(search).fit(X)
        for other in (again, pickle.loads(pickle.dumps(search))):
            same = other.transform(X) != search.transform(X)
            assert same.nnz == 0

    def test_too_few_rows_are_told(self):
        with pytest.raises(ValueError, match=r"n_neighbors=5 .* 4 rows of fit"):
            ApproximateNeighbors(5).fit_transform(np.eye(4))

    @pytest.mark.parametrize("params", [{"n_neighbors": 0}, {"n_probes": 0}])
    def test_bad_settings_are_told(self, params):
        with pytest.raises(ValueError, match=next(iter(params))):
            ApproximateNeighbors(**params).fit(np.eye(4))

    def test_missing_package_is_named_with_its_extra(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "faiss", None)
        with pytest.raises(ImportError, match=r"sklabeldiff\[ann\]"):
            ApproximateNeighbors(1).fit(np.eye(4))


class TestOfDDMP:
    def test_exact_transformer_gives_the_same_model(self, clouds):
        X, Y, _ = clouds
        first, second = (
            DDMPClassifier(neighbors=n, max_epochs=2, random_state=0).fit(X, Y)
            for n in ("exact", KNeighborsTransformer(mode="distance"))
        )
        np.testing.assert_allclose(
            second.initial_label_distribution_,
            first.initial_label_distribution_,
            atol=1e-5,
        )

    def test_graph_may_be_in_the_order_of_its_columns(self, clouds):
        X = clouds[0].astype(np.float32)

        class InOrder(KNeighborsTransformer):
            def fit_transform(self, X, y=None):
                graph = super().fit_transform(X, y)
                graph.sort_indices()
                return graph

        exact = search_by("exact", 0)(X, 5)
        found = search_by(InOrder(mode="distance"), 0)(X, 5)
        np.testing.assert_array_equal(found[1], exact[1])
        np.testing.assert_allclose(found[0], exact[0], rtol=1e-5)

    def test_transformer_is_asked_for_as_many_as_the_model_has(self, clouds):
        X, Y, _ = clouds
        asked = []

        class Watched(KNeighborsTransformer):
            def fit_transform(self, X, y=None):
                asked.append(self.n_neighbors)
                return super().fit_transform(X, y)

        given = Watched(mode="distance", n_neighbors=2)
        DDMPClassifier(6, neighbors=given, max_epochs=1).fit(X, Y)
        assert asked == [6]
        assert given.n_neighbors == 2

    def test_many_rows_are_searched_approximately(self, clouds, monkeypatch):
        X = clouds[0].astype(np.float32)
        exact = search_by("exact", 0)(X, 5)
        monkeypatch.setattr(neighbors, "EXACT_ROWS", 399)
        monkeypatch.setattr(ApproximateNeighbors, "transform", refuse)
        with pytest.raises(RuntimeError, match="approximate"):
            search_by("auto", 0)(X, 5)
        np.testing.assert_array_equal(search_by("exact", 0)(X, 5)[1], exact[1])
        monkeypatch.setattr(neighbors, "EXACT_ROWS", 400)
        np.testing.assert_array_equal(search_by("auto", 0)(X, 5)[1], exact[1])

    def test_search_has_no_seam_between_blocks(self, clouds, monkeypatch):
        X = clouds[0].astype(np.float32)
        # One probe: some rows find too few in their list, and are compared with all.
        search = ApproximateNeighbors(5, n_probes=1, random_state=0).fit(X)
        whole = search.transform(X)
        monkeypatch.setattr(neighbors, "SEARCHED_ROWS", 7)
        parts = search.transform(X)
        np.testing.assert_array_equal(parts.indices, whole.indices)
        np.testing.assert_allclose(parts.data, whole.data, atol=1e-5)

    def test_missing_package_is_told_where_fit_was_called(self, clouds, monkeypatch):
        X, Y = clouds[0].astype(np.float32), clouds[1]
        monkeypatch.setattr(neighbors, "EXACT_ROWS", 10)
        monkeypatch.setattr(neighbors, "find_spec", lambda name: None)
        with pytest.warns(UserWarning, match=r"sklabeldiff\[ann\]") as seen:
            DDMPClassifier(max_epochs=1).fit(X, Y)
        (told,) = (w for w in seen if "ann" in str(w.message))
        assert told.filename == __file__

    def test_missing_package_is_warned_of_and_done_without(self, clouds, monkeypatch):
        X = clouds[0].astype(np.float32)
        monkeypatch.setattr(neighbors, "EXACT_ROWS", 10)
        monkeypatch.setattr(neighbors, "find_spec", lambda name: None)
        with pytest.warns(UserWarning, match=r"400 rows .*sklabeldiff\[ann\]"):
            found = search_by("auto", 0)(X, 5)
        np.testing.assert_array_equal(found[1], search_by("exact", 0)(X, 5)[1])

    @pytest.mark.parametrize("bad", ["nearest", 5, None])
    def test_other_words_are_refused(self, clouds, bad):
        X, Y, _ = clouds
        with pytest.raises(ValueError, match="neighbors must be 'auto', 'exact', a"):
            DDMPClassifier(neighbors=bad).fit(X, Y)

    def test_graph_without_the_row_itself_is_told(self, clouds):
        X, Y, _ = clouds

        class Wrong(KNeighborsTransformer):
            def fit_transform(self, X, y=None):
                return self.fit(X).kneighbors_graph(n_neighbors=3, mode="distance")

        with pytest.raises(ValueError, match=r"11 entries .* row 0 has 3 entries"):
            DDMPClassifier(neighbors=Wrong()).fit(X, Y)


def refuse(self, X):
    raise RuntimeError("approximate")


class TestGraphs:
    def test_distances_of_the_user_are_taken(self, clouds):
        X, Y, _ = clouds
        scaled = (X - X.mean(0)) / X.std(0)
        params = {"max_epochs": 2, "hidden": 16, "standardize": "standard"}
        graph = KNeighborsTransformer(n_neighbors=14).fit_transform(scaled)
        expected = DDMPClassifier(random_state=0, **params).fit(X, Y)
        for given in (graph, graph.tocoo(), graph.tocsc()):
            found = DDMPClassifier(neighbors=given, random_state=0, **params).fit(X, Y)
            np.testing.assert_allclose(
                found.initial_label_distribution_,
                expected.initial_label_distribution_,
                atol=1e-4,
            )

    def test_nearest_come_first_and_ties_in_order(self):
        graph = csr_array(
            [[0, 3.0, 1.0, 2.0], [5, 0, 5, 5], [1, 2, 7, 0.5], [4, 3, 2, 0]]
        )
        distances, found = search_by(graph, 0)(np.zeros((4, 2)), 2)
        np.testing.assert_array_equal(found, [[2, 3], [0, 2], [3, 0], [2, 1]])
        np.testing.assert_array_equal(distances, [[1, 2], [5, 5], [0.5, 1], [2, 3]])

    def test_graphs_that_do_not_fit_are_told(self):
        graph = csr_array(np.ones((4, 4)))
        with pytest.raises(ValueError, match=r"shape \(4, 4\), but X has 5 rows"):
            search_by(graph, 0)(np.zeros((5, 2)), 2)
        graph = csr_array([[0, 1, 1], [1, 0, 0], [1, 1, 0]])
        with pytest.raises(ValueError, match="row 1 has 1 neighbours in the graph"):
            search_by(graph, 0)(np.zeros((3, 2)), 2)

    def test_a_model_with_a_graph_is_cloned_saved_and_resumed(self, clouds, tmp_path):
        X, Y, _ = clouds
        graph = KNeighborsTransformer(n_neighbors=12).fit_transform(X)
        clf = clone(DDMPClassifier(neighbors=graph, max_epochs=2, random_state=0))
        clf.set_params(checkpoint_dir=tmp_path / "state").fit(X, Y)
        clf.save(tmp_path / "model")
        again = DDMPClassifier.load(tmp_path / "model")
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
        assert (again.neighbors != graph).nnz == 0


class TestFiles:
    def test_lists_in_files_give_what_lists_in_memory_give(
        self, clouds, tmp_path, monkeypatch
    ):
        X = clouds[0].astype(np.float32)
        inside = ApproximateNeighbors(7, n_probes=3, random_state=0).fit(X)
        monkeypatch.setattr(neighbors, "FILE_BYTES", X[:150].nbytes)
        folder = tmp_path / "lists"
        params = {"n_probes": 3, "folder": folder, "random_state": 0}
        outside = ApproximateNeighbors(7, **params).fit(X)
        assert len(outside.index_) == len(list(folder.iterdir())) == 3
        for rows in (X, X[:20] + 0.1):
            ours, theirs = (s.transform(rows) for s in (outside, inside))
            np.testing.assert_array_equal(ours.indices, theirs.indices)
            np.testing.assert_allclose(ours.data, theirs.data, atol=1e-4)
        outside.fit(X[:100])
        assert len(list(folder.iterdir())) == 1

    def test_folders_are_not_saved(self, clouds, tmp_path):
        X, Y, _ = clouds
        search = ApproximateNeighbors(folder=tmp_path / "lists", random_state=0)
        clf = DDMPClassifier(neighbors=search, max_epochs=2, random_state=0).fit(X, Y)
        clf.save(tmp_path / "model")
        assert DDMPClassifier.load(tmp_path / "model").neighbors.folder is None
        with pytest.raises(TypeError, match="folder must be a path"):
            ApproximateNeighbors(folder=3).fit(X)
