"""Fetchers of sets that people labelled, from files that are there."""

import io
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sklabeldiff.datasets import fetch_cifar10n, fetch_labelme
from sklabeldiff.datasets._registry import DATA_SETS
from sklabeldiff.targets import candidates_from_votes, vote_labels

N, N_TEST, D = 50_000, 10_000, 3
NAMES = ("clean", "aggregate", "random1", "random2", "random3", "worst")
KEYS = {
    "clean": "clean_label",
    "aggregate": "aggre_label",
    "random1": "random_label1",
    "random2": "random_label2",
    "random3": "random_label3",
    "worst": "worse_label",
}


@pytest.fixture(scope="module")
def labels():
    """Six columns of labels, each different."""
    rng = np.random.RandomState(0)
    return {name: rng.randint(10, size=N) for name in NAMES}


def changed(arrays, changes):
    """Arrays with some replaced, or left out where the new one is None."""
    arrays = {**arrays, **changes}
    return {key: value for key, value in arrays.items() if value is not None}


def write_labels(folder, labels, **changes):
    arrays = changed(labels, changes)
    np.savez(
        folder / "cifar10n_labels.npz", **{k: np.uint8(v) for k, v in arrays.items()}
    )


def write_human(folder, labels):
    """The layout of the authors."""
    torch.save(
        {KEYS[name]: values for name, values in labels.items()},
        folder / "CIFAR-10_human.pt",
    )


def write_features(folder, labels, **changes):
    arrays = {
        "X_train": np.float16(np.arange(N * D).reshape(N, D) % 100 / 7),
        "X_test": np.ones((N_TEST, D), dtype=np.float16),
        "y_train": np.uint8(labels["clean"]),
        "y_test": np.uint8(np.arange(N_TEST) % 10),
    }
    np.savez(folder / "cifar10_features.npz", **changed(arrays, changes))


def with_element(values, row, value):
    values = np.array(values, dtype=np.int64)
    values[row] = value
    return values


def labels_alone(*args):
    return fetch_cifar10n(*args, images=False, download_if_missing=False)


class TestFetchCifar10n:
    @pytest.mark.parametrize("write", [write_labels, write_human])
    def test_both_layouts_give_all_labels(self, tmp_path, labels, write):
        write(tmp_path, labels)
        data = labels_alone(tmp_path)
        np.testing.assert_array_equal(data.target, labels["clean"])
        for name in NAMES[1:]:
            np.testing.assert_array_equal(data[name], labels[name])
            assert data[name].dtype == np.int64
        assert data.filenames == [str(next(tmp_path.iterdir()))]
        assert data.target_names[3] == "cat" and len(data.target_names) == 10
        assert data.data is None and "clean" not in data

    def test_candidates_are_the_union_of_the_three_answers(self, tmp_path, labels):
        write_labels(tmp_path, labels)
        data = labels_alone(tmp_path)
        one_hot = np.eye(10, dtype=bool)
        union = one_hot[labels["random1"]]
        union = union | one_hot[labels["random2"]] | one_hot[labels["random3"]]
        np.testing.assert_array_equal(data.candidates, union)
        np.testing.assert_array_equal(
            data.answers.T, [labels["random1"], labels["random2"], labels["random3"]]
        )

    def test_a_class_that_nobody_gave_keeps_its_column(self, tmp_path, labels):
        few = {name: values % 4 for name, values in labels.items()}
        write_labels(tmp_path, few)
        assert labels_alone(tmp_path).candidates.shape == (N, 10)

    def test_names_of_numpy_1_in_the_file_are_understood(self, tmp_path, labels):
        # numpy 2 renamed the module that the published file points to.
        write_human(tmp_path, labels)
        path = tmp_path / "CIFAR-10_human.pt"
        rewritten = io.BytesIO()
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(rewritten, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name.endswith("data.pkl"):
                    content = content.replace(b"numpy._core.", b"numpy.core.")
                    assert b"numpy.core.multiarray" in content
                new.writestr(name, content)
        path.write_bytes(rewritten.getvalue())
        np.testing.assert_array_equal(labels_alone(tmp_path).worst, labels["worst"])

    def test_code_in_the_file_is_never_run(self, tmp_path):
        torch.save(
            {"clean_label": Touch(tmp_path / "ran")}, tmp_path / "CIFAR-10_human.pt"
        )
        with pytest.raises(ValueError, match=r"holds more than arrays.*Get it anew"):
            labels_alone(tmp_path)
        assert not (tmp_path / "ran").exists()

    def test_no_global_stays_allowed(self, tmp_path, labels):
        before = set(torch.serialization.get_safe_globals())
        write_human(tmp_path, labels)
        labels_alone(tmp_path)
        assert set(torch.serialization.get_safe_globals()) == before

    @pytest.mark.parametrize("content", [b"", b"not a file of torch"])
    def test_damaged_file_is_named(self, tmp_path, content):
        (tmp_path / "CIFAR-10_human.pt").write_bytes(content)
        with pytest.raises(ValueError, match=r"human\.pt is damaged.*noisylabels\.com"):
            labels_alone(tmp_path)

    def test_a_file_that_is_no_dict_is_refused(self, tmp_path):
        torch.save([1, 2], tmp_path / "CIFAR-10_human.pt")
        with pytest.raises(ValueError, match=r"holds a list, where a dict is expected"):
            labels_alone(tmp_path)

    @pytest.mark.parametrize("folder", ["images", "data"])
    def test_subfolders_are_searched(self, tmp_path, labels, folder):
        (tmp_path / folder).mkdir()
        write_labels(tmp_path / folder, labels)
        assert labels_alone(tmp_path).target.shape == (N,)

    def test_npz_is_preferred(self, tmp_path, labels):
        write_human(tmp_path, {name: 0 * values for name, values in labels.items()})
        write_labels(tmp_path, labels)
        assert labels_alone(tmp_path).target.any()

    def test_environment_variable_is_the_default_home(
        self, tmp_path, labels, monkeypatch
    ):
        write_labels(tmp_path, labels)
        monkeypatch.setenv("SKLABELDIFF_DATA", str(tmp_path))
        assert labels_alone().filenames == [str(tmp_path / "cifar10n_labels.npz")]

    def test_missing_file_says_what_where_and_whence(self, tmp_path):
        with pytest.raises(FileNotFoundError) as info:
            labels_alone(tmp_path)
        message = str(info.value)
        assert "No CIFAR-10_human.pt (CIFAR-10N) in" in message
        assert str(tmp_path / "images") in message
        assert "UCSC-REAL/cifar-10-100n" in message
        assert "SKLABELDIFF_DATA" in message

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"worst": None}, r"lacks worst; it holds aggregate, clean, random1"),
            ({"clean": np.arange(9)}, r"clean has shape \(9,\).*of shape \(50000,\)"),
            (
                {"random2": with_element([0] * N, 7, 10)},
                r"random2 of row 7 is 10\. The",
            ),
        ],
    )
    def test_broken_labels_are_refused(self, tmp_path, labels, changes, message):
        write_labels(tmp_path, labels, **changes)
        with pytest.raises(ValueError, match=message):
            labels_alone(tmp_path)

    def test_labels_that_are_no_integers_are_refused(self, tmp_path, labels):
        np.savez(tmp_path / "cifar10n_labels.npz", **{**labels, "worst": np.zeros(N)})
        with pytest.raises(
            ValueError, match=r"worst has .* float64\. Expected integers"
        ):
            labels_alone(tmp_path)

    def test_features_come_as_float32_with_the_test_part(self, tmp_path, labels):
        write_labels(tmp_path, labels)
        write_features(tmp_path, labels)
        data = fetch_cifar10n(tmp_path, features=True)
        assert data.data.shape == (N, D) and data.data.dtype == np.float32
        assert (
            data.data_test.shape == (N_TEST, D) and data.data_test.dtype == np.float32
        )
        assert data.data[1, 0] == np.float16(3 / 7)
        np.testing.assert_array_equal(data.target_test, np.arange(N_TEST) % 10)
        assert "50000 rows, 3 features" in data.DESCR

    def test_missing_features_say_how_to_make_them(self, tmp_path, labels):
        write_labels(tmp_path, labels)
        with pytest.raises(
            FileNotFoundError, match=r"No cifar10_features\.npz.*encode the images"
        ):
            fetch_cifar10n(tmp_path, features=True)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"y_test": None}, r"lacks y_test; it holds X_test, X_train, y_train"),
            ({"X_train": np.ones((N, D, 1))}, r"X_train has shape \(50000, 3, 1\)"),
            ({"X_test": np.ones((N_TEST, D + 1))}, r"X_test has shape \(10000, 4\)"),
            ({"X_test": np.ones((5, D))}, r"Expected \(10000, n_features\): one row"),
        ],
    )
    def test_broken_features_are_refused(self, tmp_path, labels, changes, message):
        write_labels(tmp_path, labels)
        write_features(tmp_path, labels, **changes)
        with pytest.raises(ValueError, match=message):
            fetch_cifar10n(tmp_path, features=True)

    def test_features_in_another_order_are_refused(self, tmp_path, labels):
        write_labels(tmp_path, labels)
        true = int(labels["clean"][4])
        moved = with_element(labels["clean"], 4, (true + 1) % 10)
        write_features(tmp_path, labels, y_train=moved)
        with pytest.raises(
            ValueError, match=rf"row 4 is .* image is {true} in .* \(and 1 such"
        ):
            fetch_cifar10n(tmp_path, features=True)


class Touch:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_the_trap_of_the_safety_test_works(tmp_path):
    pickle.loads(pickle.dumps(Touch(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


ANSWERS = np.array([[0, 1, -1], [2, -1, 2], [-1, 1, 1]], dtype=np.int8)
UNION = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 0]], dtype=bool)


def write_labelme(folder, **changes):
    arrays = {
        "X": np.ones((3, 2), dtype=np.float32),
        "candidates": np.ones((3, 8), dtype=bool),
        "y": [0, 2, 1],
        "answers": ANSWERS,
        "X_valid": np.ones((2, 2)),
        "y_valid": [0, 1],
        "X_test": np.ones((4, 2)),
        "y_test": [0, 1, 2, 0],
    }
    np.savez(folder / "labelme_crowd.npz", **changed(arrays, changes))


class TestFetchLabelme:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        """The published set has three rows here."""
        rows = {"train": 3, "valid": 2, "test": 4}
        facts = replace(DATA_SETS["labelme"], rows=rows, n_features=2)
        monkeypatch.setitem(DATA_SETS, "labelme", facts)

    def test_answers_make_the_candidates(self, tmp_path):
        write_labelme(tmp_path)
        data = fetch_labelme(tmp_path)
        np.testing.assert_array_equal(data.candidates[:, :3], UNION)
        assert data.candidates.shape == (3, 8) and not data.candidates[:, 3:].any()
        np.testing.assert_array_equal(data.answers, ANSWERS)
        assert data.data_test.dtype == np.float32
        assert data.target_valid.tolist() == [0, 1]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"answers": None, "X_test": None},
                r"lacks answers, X_test\. It must hold",
            ),
            ({"X_valid": np.ones((3, 2))}, r"\(3, 2\), but .* \(valid\) have \(2, 2\)"),
            ({"X_test": np.ones((4, 3))}, r"\(4, 3\), but .* \(test\) have \(4, 2\)"),
            (
                {"y_test": [0, 1, 2, 8]},
                r"target_test of row 3 is 8\. The classes are 0",
            ),
            ({"answers": ANSWERS[:2]}, r"answers have shape \(2, 3\), but .* 3 rows"),
            (
                {"answers": with_element(ANSWERS, (1, 1), 8)},
                r"npz: row 1 has the answer 8\. The classes are 0 to 7",
            ),
        ],
    )
    def test_broken_file_is_refused(self, tmp_path, changes, message):
        write_labelme(tmp_path, **changes)
        with pytest.raises(ValueError, match=message):
            fetch_labelme(tmp_path)


def test_labelme_as_published(data_home):
    data = fetch_labelme(data_home)
    rows = np.arange(len(data.target))
    two, _ = candidates_from_votes(data.answers, min_votes=2, missing_label=-1)
    any_, classes = candidates_from_votes(data.answers, missing_label=-1)
    assert classes.tolist() == list(range(8))
    assert (two <= any_).all() and two.sum() < any_.sum()
    majority = vote_labels(data.answers, missing_label=-1, random_state=0)
    one = vote_labels(data.answers, "random", missing_label=-1, random_state=0)
    assert any_[rows, majority].all() and any_[rows, one].all()
    # A majority is right more often than one annotator, who is in 74.0 % of answers.
    assert (majority == data.target).mean() > (one == data.target).mean()
    assert (one == data.target).mean() == pytest.approx(0.74, abs=0.03)


def test_labelme_has_the_published_answers(data_home):
    data = fetch_labelme(data_home)
    asked = data.answers >= 0
    assert data.answers.shape == (1000, 59) and data.candidates.shape == (1000, 8)
    assert asked.sum(axis=1).mean() == pytest.approx(2.55, abs=0.005)
    right = (data.answers == data.target[:, None])[asked].mean()
    assert right == pytest.approx(0.740, abs=5e-4)
    inside = data.candidates[np.arange(1000), data.target].mean()
    assert inside == pytest.approx(0.889, abs=5e-4)
    assert data.data_valid.shape == (500, 512) and data.data_test.shape == (1188, 512)
    assert data.target_valid.shape == (500,) and data.target_test.shape == (1188,)


@pytest.fixture(scope="module")
def cifar10n(data_home):
    return fetch_cifar10n(data_home, features=True)


@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("aggregate", 9.01),
        ("random1", 17.23),
        ("random2", 18.12),
        ("random3", 17.64),
        ("worst", 40.21),
    ],
)
def test_cifar10n_is_as_wrong_as_published(cifar10n, name, percent):
    wrong = 100 * (cifar10n[name] != cifar10n.target).mean()
    assert wrong == pytest.approx(percent, abs=0.005)
    assert f"{name} {percent:.2f}%" in cifar10n.DESCR


def test_cifar10n_sets_are_as_published(cifar10n):
    sizes = cifar10n.candidates.sum(axis=1)
    assert sizes.mean() == pytest.approx(1.457, abs=5e-4)
    assert (sizes == 1).mean() == pytest.approx(0.604, abs=5e-4)
    inside = cifar10n.candidates[np.arange(N), cifar10n.target].mean()
    assert inside == pytest.approx(0.9787, abs=5e-5)


def test_cifar10n_labels_follow_from_the_answers(cifar10n):
    answers = cifar10n.answers
    two, _ = candidates_from_votes(answers, min_votes=2)
    agreed = two.sum(axis=1) == 1
    np.testing.assert_array_equal(
        two[agreed].argmax(axis=1), cifar10n.aggregate[agreed]
    )
    assert (answers == cifar10n.aggregate[:, None]).any(axis=1).all()
    has_error = (answers != cifar10n.target[:, None]).any(axis=1)
    np.testing.assert_array_equal(cifar10n.worst != cifar10n.target, has_error)


def test_cifar10n_features_fit_the_labels(cifar10n):
    assert cifar10n.data.shape == (50_000, 128) and cifar10n.data.dtype == np.float32
    assert cifar10n.data_test.shape == (10_000, 128)
    # The centre of a row's true class is the nearest one far more often than 10 %.
    X, y = cifar10n.data_test, cifar10n.target_test
    centres = np.array([cifar10n.data[cifar10n.target == c].mean(0) for c in range(10)])
    distances = ((X[:, None] - centres) ** 2).sum(axis=2)
    assert (distances.argmin(axis=1) == y).mean() > 0.6
