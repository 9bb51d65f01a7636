"""Generators of candidate sets and the loader of partial-label files."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklabeldiff.baselines import PLKNNClassifier
from sklabeldiff.datasets import load_pll, make_candidate_sets
from sklabeldiff.datasets._candidates import _instance_weights

KINDS = ["uniform", "pair", "instance"]


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture(scope="module")
def digits_proba(digits):
    """Out-of-fold opinions of a quick annotator."""
    X, y = digits
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01))
    return cross_val_predict(model, X, y, cv=3, method="predict_proba")


def assert_frequency(candidates, probability):
    """Inclusion frequency within 3 standard errors of independent draws."""
    n = len(candidates)
    error = np.sqrt(probability * (1 - probability) / n)
    assert np.all(np.abs(candidates.mean(axis=0) - probability) <= 3 * error)


class TestMakeCandidateSets:
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("rate", [0, 0.1, 0.7, 1])
    def test_true_class_is_always_inside(self, digits, digits_proba, kind, rate):
        y = digits[1]
        sets = make_candidate_sets(
            y, kind, rate=rate, proba=digits_proba, random_state=0
        )
        assert sets.shape == (len(y), 10) and sets.dtype == bool
        assert sets[np.arange(len(y)), y].all()

    @pytest.mark.parametrize("kind", KINDS)
    def test_rate_0_gives_singletons(self, digits, digits_proba, kind):
        y = digits[1]
        sets = make_candidate_sets(y, kind, rate=0, proba=digits_proba, random_state=0)
        np.testing.assert_array_equal(sets, np.eye(10, dtype=bool)[y])

    def test_uniform_enters_every_wrong_label_alike(self):
        y = np.repeat([1, 0, 2, 3], [20_000, 1, 1, 1])
        sets = make_candidate_sets(y, rate=0.3, random_state=0)[:20_000]
        assert_frequency(sets, np.array([0.3, 1, 0.3, 0.3]))

    def test_uniform_labels_enter_independently(self):
        y = np.repeat([0, 1, 2], [20_000, 1, 1])
        sets = make_candidate_sets(y, rate=0.4, random_state=0)[:20_000]
        both = sets[:, 1] & sets[:, 2]
        assert_frequency(both[:, None], np.array([0.16]))

    def test_pair_enters_the_next_class_only(self):
        y = np.tile([0, 1, 2], 20_000)
        sets = make_candidate_sets(y, "pair", rate=0.6, random_state=0)
        for c, expected in enumerate([[1, 0.6, 0], [0, 1, 0.6], [0.6, 0, 1]]):
            assert_frequency(sets[y == c], np.array(expected))

    def test_instance_weights_are_equation_4_by_hand(self):
        # C = 4, y = 0: wrong mass .5, so W = 4 * (.3, .15, .05) / .5
        P = np.array([[0.5, 0.3, 0.15, 0.05], [0.1, 0.6, 0.2, 0.1]])
        W = _instance_weights(P, np.array([0, 1]))
        np.testing.assert_allclose(W, [[0, 2.4, 1.2, 0.4], [1, 0, 2, 1]], rtol=1e-12)

    def test_instance_frequency_follows_equation_4(self):
        P = np.array([0.5, 0.3, 0.15, 0.05])
        y = np.repeat([0, 1, 2, 3], [20_000, 1, 1, 1])
        sets = make_candidate_sets(
            y, "instance", rate=0.5, proba=np.tile(P, (len(y), 1)), random_state=0
        )[:20_000]
        # min(1, C * rate * P_j / (1 - P_y)), C * rate = 2
        assert_frequency(sets, np.array([1, 1, 0.6, 0.2]))

    def test_instance_is_the_published_chain_of_normalisations(self, digits_proba):
        # divide by the row maximum, then by the row mean, times rate, clip
        codes = load_digits().target
        xi = digits_proba.copy()
        xi[np.arange(len(xi)), codes] = 0
        xi /= xi.max(axis=1, keepdims=True)
        xi = np.minimum(1, 0.3 * xi / xi.mean(axis=1, keepdims=True))
        ours = np.minimum(1, 0.3 * _instance_weights(digits_proba, codes))
        np.testing.assert_allclose(ours, xi, rtol=1e-10)

    def test_instance_mean_size_below_saturation(self):
        # while nothing is clipped the mean size is 1 + C * rate
        y = np.tile([0, 1, 2, 3], 5_000)
        P = np.full((len(y), 4), 0.25)
        sets = make_candidate_sets(y, "instance", rate=0.5, proba=P, random_state=0)
        wrong = sets.sum(axis=1) - 1  # binomial, 3 labels with probability 2/3
        error = np.sqrt(3 * (2 / 3) * (1 / 3) / len(y))
        assert abs(wrong.mean() - 2) < 3 * error

    def test_scale_of_proba_does_not_matter(self, digits, digits_proba):
        y = digits[1]
        counts = digits_proba * np.linspace(1, 50, len(y))[:, None]
        a, b = (
            make_candidate_sets(y, "instance", rate=0.3, proba=p, random_state=3)
            for p in (digits_proba, counts)
        )
        np.testing.assert_array_equal(a, b)

    def test_certain_annotator_leaves_singletons(self):
        sets = make_candidate_sets(
            [0, 1], "instance", rate=1, proba=[[1, 0], [0, 1]], random_state=0
        )
        np.testing.assert_array_equal(sets, np.eye(2, dtype=bool))

    @pytest.mark.parametrize(
        ("rate", "size"), [(0.1, 2.0), (0.3, 3.2), (0.5, 3.9), (1.0, 4.9)]
    )
    def test_sizes_on_digits_are_as_documented(self, digits, rate, size):
        X, y = digits
        sets = make_candidate_sets(y, "instance", rate=rate, X=X, random_state=0)
        # .15 is the spread over annotators
        assert sets.sum(axis=1).mean() == pytest.approx(size, abs=0.15)

    def test_trained_annotator_confuses_what_looks_alike(self, digits):
        X, y = digits
        sets = make_candidate_sets(y, "instance", rate=0.3, X=X, random_state=0)
        centres = np.array([X[y == c].mean(axis=0) for c in range(10)])
        gap = np.linalg.norm(centres[:, None] - centres[None], axis=2)  # (10, 10)
        others = gap.sum(axis=1) / 9
        distance_of_wrong = [
            (gap[c] / others[c])[sets_c & (np.arange(10) != c)].mean()
            for c, sets_c in zip(y, sets, strict=True)
            if sets_c.sum() > 1
        ]
        assert np.mean(distance_of_wrong) < 0.9  # 1 for uniform draws

    @pytest.mark.parametrize(
        "annotator", [None, RandomForestClassifier(5), LogisticRegression(C=0.1)]
    )
    def test_random_state_is_the_only_randomness(self, annotator):
        X, y = load_iris(return_X_y=True)
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        a, b, c = (
            make_candidate_sets(
                y, "instance", rate=0.5, X=X, annotator=annotator, random_state=seed
            )
            for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
        np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002

    def test_annotator_of_the_user_is_used_and_left_unfitted(self):
        X, y = load_iris(return_X_y=True)
        model = LogisticRegression(C=0.1, max_iter=200)
        sets = make_candidate_sets(
            y, "instance", rate=0.5, X=X, annotator=model, random_state=0
        )
        P = LogisticRegression(C=0.1, max_iter=200).fit(X, y).predict_proba(X)
        expected = make_candidate_sets(y, "instance", rate=0.5, proba=P, random_state=0)
        np.testing.assert_array_equal(sets, expected)
        assert not hasattr(model, "classes_")

    @pytest.mark.parametrize("kind", KINDS)
    def test_smaller_rate_gives_subsets(self, digits, digits_proba, kind):
        small, large = (
            make_candidate_sets(
                digits[1], kind, rate=rate, proba=digits_proba, random_state=7
            )
            for rate in (0.2, 0.6)
        )
        assert (small <= large).all() and (small != large).any()

    @pytest.mark.parametrize("kind", KINDS)
    def test_ensure_partial_adds_one_label_to_singletons(
        self, digits, digits_proba, kind
    ):
        plain, ensured = (
            make_candidate_sets(
                digits[1],
                kind,
                rate=0.1,
                proba=digits_proba,
                ensure_partial=ensure,
                random_state=0,
            )
            for ensure in (False, True)
        )
        alone = plain.sum(axis=1) == 1
        assert alone.any()
        np.testing.assert_array_equal(plain[~alone], ensured[~alone])
        assert (ensured[alone].sum(axis=1) == 2).all()
        assert (plain <= ensured).all()

    def test_ensure_partial_draws_in_proportion_to_the_weights(self):
        y = np.repeat([0, 1, 2, 3], [20_000, 1, 1, 1])
        sets = make_candidate_sets(
            y,
            "instance",
            rate=0,
            proba=np.tile([0.5, 0.3, 0.15, 0.05], (len(y), 1)),
            ensure_partial=True,
            random_state=0,
        )[:20_000]
        assert (sets.sum(axis=1) == 2).all()
        assert_frequency(sets, np.array([1, 0.6, 0.3, 0.1]))

    def test_ensure_partial_reaches_rows_of_a_certain_annotator(self):
        y = np.tile([0, 1, 2], 3_000)
        sets = make_candidate_sets(
            y,
            "instance",
            rate=1,
            proba=np.eye(3)[y],
            ensure_partial=True,
            random_state=0,
        )
        assert_frequency(sets[y == 1], np.array([0.5, 1, 0.5]))

    def test_string_labels_are_in_numpy_order(self):
        sets = make_candidate_sets(["owl", "cat", "dog"], "pair", rate=1)
        # cat -> dog, dog -> owl, owl -> cat
        np.testing.assert_array_equal(sets, [[1, 0, 1], [1, 1, 0], [0, 1, 1]])

    def test_one_hot_labels_keep_columns_that_do_not_occur(self):
        X = np.arange(6.0)[:, None]
        one_hot = np.eye(4, dtype=bool)[[0, 0, 1, 1, 3, 3]]
        sets = make_candidate_sets(one_hot, "instance", rate=5, X=X, random_state=0)
        assert sets.shape == (6, 4)
        assert not sets[:, 2].any()  # unknown to the annotator
        assert sets[one_hot].all()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"kind": "flip", "rate": 0.1}, "kind='flip' is not one of 'uniform'"),
            ({"rate": 1.1}, "rate=1.1 must be a number from 0 to 1 for kind='uniform'"),
            ({"rate": -0.1}, "rate=-0.1 must be a number from 0 to 1"),
            ({"rate": np.nan}, "rate=nan must be a number from 0 to 1"),
            (
                {"rate": np.inf, "kind": "instance", "X": [[1], [2], [3]]},
                "rate=inf must be a finite number >= 0 for kind='instance'",
            ),
            ({"rate": 0.1, "kind": "instance"}, "got neither of X and proba. Give X"),
            (
                {"rate": 0.1, "kind": "instance", "X": [[1]], "proba": [[1]]},
                "got both of X and proba",
            ),
            (
                {"rate": 0.1, "kind": "instance", "proba": [[0.5, 0.5]] * 3},
                r"proba has shape \(3, 2\); y asks for \(3, 3\)",
            ),
            (
                {
                    "rate": 0.1,
                    "kind": "instance",
                    "proba": [[1, 0, 0], [0, 1, -2], [0, 0, 1]],
                },
                "proba holds -2 in row 1. Give probabilities",
            ),
            (
                {"rate": 0.1, "kind": "instance", "proba": [[np.nan, 0, 0]] * 3},
                "proba contains NaN",
            ),
            (
                {"rate": 0.1, "kind": "instance", "X": [[1.0], [2.0]]},
                "inconsistent numbers of samples",
            ),
        ],
    )
    def test_bad_argument_is_named(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            make_candidate_sets(["a", "b", "c"], **arguments)

    @pytest.mark.parametrize("rate", ["0.1", None, True])
    def test_rate_that_is_no_number_is_a_type_error(self, rate):
        with pytest.raises(TypeError, match="must be a number from 0 to 1"):
            make_candidate_sets(["a", "b", "c"], rate=rate)

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            (["a", None, "b"], "row 1 of y has 2 possible classes.*drop the rows"),
            ([[1, 0, 0], [0, 1, 1]], "row 1 of y has 2 possible classes"),
            (["a", "a"], "y holds one class. Candidate sets need at least two"),
        ],
    )
    def test_labels_without_a_single_truth_are_refused(self, y, message):
        with pytest.raises(ValueError, match=message):
            make_candidate_sets(y, rate=0.1)


N, D, C = 6, 4, 3
TRUTH = np.array([0, 1, 2, 0, 1, 2])
CANDIDATES = np.array(
    [[1, 1, 0], [0, 1, 0], [0, 1, 1], [1, 1, 1], [1, 1, 0], [0, 0, 1]], dtype=bool
)
FEATURES = np.arange(N * D, dtype=float).reshape(N, D) * 1000


def write_mat(path, *, convert=np.asarray, **changed):
    """Write the layout of the field: targets are (n_classes, n_samples)."""
    arrays = {
        "data": FEATURES,
        "target": np.eye(C, dtype=np.uint8)[TRUTH].T,
        "partial_target": CANDIDATES.T.astype(np.uint8),
    } | changed
    savemat(path, {key: convert(value) for key, value in arrays.items()})


def write_npz(path, **changed):
    arrays = {"X": FEATURES, "candidates": CANDIDATES, "y": TRUTH} | changed
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})


class TestLoadPLL:
    @pytest.mark.parametrize(
        "write",
        [
            lambda folder: write_npz(folder / "toy.npz"),
            lambda folder: write_mat(folder / "toy.mat"),
            lambda folder: write_mat(
                folder / "toy.mat", convert=lambda a: csc_matrix(a.astype(float))
            ),
        ],
        ids=["npz", "mat dense", "mat sparse"],
    )
    def test_layouts_give_the_same_arrays(self, tmp_path, write):
        write(tmp_path)
        toy = load_pll("toy", data_home=tmp_path)
        assert toy.data.dtype == np.float32
        assert toy.candidates.dtype == bool
        assert toy.target.dtype == np.int64
        np.testing.assert_array_equal(toy.data, FEATURES)
        np.testing.assert_array_equal(toy.candidates, CANDIDATES)
        np.testing.assert_array_equal(toy.target, TRUTH)
        assert toy.name == "toy" and Path(toy.filename).parent == tmp_path

    def test_signed_targets_are_read_by_sign(self, tmp_path):
        write_mat(
            tmp_path / "toy.mat",
            target=np.eye(C)[TRUTH].T * 2 - 1,
            partial_target=CANDIDATES.T * 2.0 - 1,
        )
        toy = load_pll("toy", data_home=tmp_path)
        np.testing.assert_array_equal(toy.candidates, CANDIDATES)
        np.testing.assert_array_equal(toy.target, TRUTH)

    @pytest.mark.parametrize("subfolder", ["", "pll", "controlled", "pll/controlled"])
    def test_subfolders_are_searched(self, tmp_path, subfolder):
        folder = tmp_path / subfolder
        folder.mkdir(parents=True, exist_ok=True)
        write_npz(folder / "toy.npz")
        assert load_pll("toy", tmp_path).data.shape == (N, D)

    @pytest.mark.parametrize(
        ("file", "name"),
        [
            ("Lost.mat", "lost"),
            ("Lost.MAT", "LOST"),
            ("Soccer Player.mat", "SoccerPlayer"),
            ("YahooNews.mat", "Yahoo! News"),
            ("lost.mat", "Lost.mat"),
        ],
    )
    def test_spelling_does_not_matter(self, tmp_path, file, name):
        write_mat(tmp_path / "another.mat", data=FEATURES + 1)
        write_mat(tmp_path / "temporary.mat")
        # savemat would append .mat to .MAT
        (tmp_path / "temporary.mat").rename(tmp_path / file)
        np.testing.assert_array_equal(load_pll(name, tmp_path).data, FEATURES)

    def test_suffix_chooses_between_files_of_one_name(self, tmp_path):
        write_npz(tmp_path / "toy.npz")
        write_mat(tmp_path / "toy.mat", data=FEATURES + 1)
        assert load_pll("toy", tmp_path).data[0, 0] == 0
        assert load_pll("toy.npz", tmp_path).data[0, 0] == 0
        assert load_pll("toy.mat", tmp_path).data[0, 0] == 1

    def test_environment_variable_is_the_default_home(self, tmp_path, monkeypatch):
        write_npz(tmp_path / "toy.npz")
        monkeypatch.setenv("SKLABELDIFF_DATA", str(tmp_path))
        assert load_pll("toy").data.shape == (N, D)

    def test_home_folder_is_the_last_resort(self, tmp_path, monkeypatch):
        monkeypatch.delenv("SKLABELDIFF_DATA", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        (tmp_path / "sklabeldiff_data").mkdir()
        write_npz(tmp_path / "sklabeldiff_data" / "toy.npz")
        assert load_pll("toy").data.shape == (N, D)

    def test_return_X_y_gives_what_fit_takes(self, tmp_path):
        write_npz(tmp_path / "toy.npz")
        X, candidates = load_pll("toy", tmp_path, return_X_y=True)
        np.testing.assert_array_equal(X, FEATURES)
        np.testing.assert_array_equal(candidates, CANDIDATES)

    def test_further_arrays_are_kept(self, tmp_path):
        write_npz(
            tmp_path / "toy.npz",
            name="Toy set",
            note="Made by hand. ",
            source="nowhere",
            answers=np.array([[0, -1]] * N, dtype=np.int8),
            X_test=FEATURES[:2],
            y_test=TRUTH[:2],
        )
        toy = load_pll("toy", tmp_path)
        assert toy.answers.dtype == np.int8
        assert toy.data_test.dtype == np.float32 and toy.data_test.shape == (2, D)
        np.testing.assert_array_equal(toy.target_test, TRUTH[:2])
        assert toy.name == "Toy set"
        assert "y_test" not in toy and "note" not in toy

    def test_description_has_the_facts(self, tmp_path):
        write_npz(
            tmp_path / "ecoli.npz", note="By hand.", source="nowhere", y=1 - 0 * TRUTH
        )
        text = load_pll("ecoli", tmp_path).DESCR
        assert "6 rows, 4 features, 3 classes of which 1 occur" in text
        assert "1.833 candidates a row" in text
        assert "in 83.3% of the rows" in text
        assert "By hand." in text and "Source: nowhere" in text
        assert "UCI Machine Learning Repository" in text

    def test_missing_file_says_where_and_whence(self, tmp_path):
        write_npz(tmp_path / "toy.npz")
        with pytest.raises(FileNotFoundError) as info:
            load_pll("Soccer Player", tmp_path)
        message = str(info.value)
        assert "'Soccer Player'" in message
        assert str(tmp_path / "pll" / "controlled") in message
        assert "Found there: toy" in message
        assert "PALM Lab, Southeast University" in message
        assert "SKLABELDIFF_DATA" in message

    @pytest.mark.parametrize(
        ("name", "home_page"),
        [("labelme_crowd", "Filipe Rodrigues"), ("controlled/yeast", "UCI Machine")],
    )
    def test_missing_file_names_its_own_home_page(self, tmp_path, name, home_page):
        with pytest.raises(FileNotFoundError, match=home_page):
            load_pll(name, tmp_path / "does not exist")

    def test_nothing_is_created(self, tmp_path, monkeypatch):
        monkeypatch.setenv("SKLABELDIFF_DATA", str(tmp_path / "absent"))
        with pytest.raises(FileNotFoundError, match="no such file at all"):
            load_pll("lost")
        assert not (tmp_path / "absent").exists()

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"y": None}, "lacks y; it holds X, candidates"),
            ({"y": TRUTH[:-1]}, r"true classes \(5,\) do not describe the same rows"),
            ({"y": TRUTH[:, None]}, "do not describe the same rows"),
            ({"y": [0, 1, 2, 3, 0, 0]}, "class of row 3 is 3; .* columns 0 to 2"),
            ({"y": [0, 1, -1, 2, 0, 0]}, "class of row 2 is -1"),
            ({"y": [0, 1, 2, 1e300, 0, 0]}, "class of row 3 is "),
            (
                {"candidates": CANDIDATES & (np.arange(N) != 4)[:, None]},
                "row 4 has no candidate",
            ),
        ],
    )
    def test_broken_npz_is_refused(self, tmp_path, changed, message):
        write_npz(tmp_path / "toy.npz", **changed)
        with pytest.raises(ValueError, match=message):
            load_pll("toy", tmp_path)

    def test_numbers_beyond_float32_are_infinite(self, tmp_path):
        write_npz(tmp_path / "toy.npz", X=FEATURES * 1e300)
        toy = load_pll("toy", tmp_path)
        with pytest.raises(ValueError, match="X contains infinity"):
            PLKNNClassifier().fit(toy.data, toy.candidates)

    def test_truth_outside_the_candidates_is_legal(self, tmp_path):
        write_npz(tmp_path / "toy.npz", y=(TRUTH + 1) % C)  # crowds make such sets
        toy = load_pll("toy", tmp_path)
        assert not toy.candidates[np.arange(N), toy.target].all()

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"target": np.eye(C)[TRUTH]}, "target has . true classes in row 0"),
            ({"target": np.ones((C, N))}, r"3 true classes in row 0 \(and 6 such rows"),
            (
                {"partial_target": CANDIDATES[:, :2]},
                "do not describe the same rows. In MATLAB files",
            ),
        ],
    )
    def test_broken_mat_is_refused(self, tmp_path, changed, message):
        write_mat(tmp_path / "toy.mat", **changed)
        with pytest.raises(ValueError, match=message):
            load_pll("toy", tmp_path)

    def test_mat_of_another_layout_is_refused(self, tmp_path):
        savemat(tmp_path / "toy.mat", {"features": FEATURES, "target": TRUTH})
        with pytest.raises(ValueError, match="lacks data, partial_target; it holds"):
            load_pll("toy", tmp_path)

    def test_matlab_7_3_file_names_the_remedy(self, tmp_path):
        header = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
        (tmp_path / "toy.mat").write_bytes(header + b"\x89HDF\r\n\x1a\n" * 50)
        with pytest.raises(ValueError, match="'-v7'"):
            load_pll("toy", tmp_path)

    def test_pickled_arrays_are_never_loaded(self, tmp_path):
        write_npz(tmp_path / "toy.npz", note=np.array([{"a": 1}], dtype=object))
        with pytest.raises(ValueError, match="allow_pickle"):
            load_pll("toy", tmp_path)


@pytest.mark.parametrize(
    ("name", "shape", "n_classes", "mean_size", "inside"),
    [
        ("lost", (1122, 108), 16, 2.232, 1),
        ("MSRCv2", (1758, 48), 23, 3.156, 1),
        ("BirdSong", (4998, 38), 13, 2.175, 1),
        ("labelme_crowd", (1000, 512), 8, 1.365, 0.889),
        ("controlled/ecoli", (336, 7), 8, 1, 1),
        ("pendigits", (10992, 16), 10, 1, 1),
    ],
)
def test_real_set_is_as_published(data_home, name, shape, n_classes, mean_size, inside):
    data = load_pll(name, data_home)
    assert data.data.shape == shape and np.isfinite(data.data).all()
    assert data.candidates.shape == (shape[0], n_classes)
    assert data.candidates.sum(axis=1).mean() == pytest.approx(mean_size, abs=5e-4)
    hit = data.candidates[np.arange(shape[0]), data.target].mean()
    assert hit == pytest.approx(inside, abs=5e-4)


def test_real_crowd_set_has_answers_and_clean_parts(data_home):
    data = load_pll("labelme_crowd", data_home)
    assert data.answers.shape == (1000, 59)
    assert data.data_valid.shape == (500, 512) and data.target_valid.shape == (500,)
    assert data.data_test.shape == (1188, 512) and data.target_test.shape == (1188,)
    union = np.zeros_like(data.candidates)
    row, worker = np.nonzero(data.answers >= 0)
    union[row, data.answers[row, worker]] = True
    np.testing.assert_array_equal(union, data.candidates)
