"""The benchmarks on entangled instances: data, methods, measure, report and goals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.utils import Bunch

from benchmarks import (
    cells,
    entangled_cells,
    entangled_cifar,
    entangled_methods,
    entangled_report,
)
from benchmarks.cells import Cell
from benchmarks.entangled_cells import IMAGE_CELLS, VECTOR_CELLS, EntangledSplit
from benchmarks.scores import Scores
from benchmarks.suites import SUITES
from sklabeldiff import CADClassifier
from sklabeldiff.metrics import entangled_accuracy, entangled_subset

N_IMAGES = 300  # of a part, in place of Fashion-MNIST


@pytest.fixture
def home(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SKLABELDIFF_DATA", str(data_home))
    return data_home


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Bunch]]:
    """Parts of random images, in which classes 2 k and 2 k + 1 look alike."""
    rng = np.random.RandomState(0)
    y = np.arange(N_IMAGES) % 10
    bright = 100 * (np.arange(784) % 5 == y[:, None] // 2)
    parts = {
        part: Bunch(
            data=(bright + rng.randint(156, size=(N_IMAGES, 784))).astype(np.uint8),
            target=y,
        )
        for part in ("train", "test")
    }

    def fetch(home: Path, *, subset: str, **options: bool) -> tuple[object, ...]:
        return parts[subset].data, parts[subset].target

    monkeypatch.setattr(entangled_cells, "fetch_fashion_mnist", fetch)
    monkeypatch.setattr(entangled_cells, "N_TRAIN", 200)
    monkeypatch.setattr(entangled_cells, "N_TEST", 50)
    entangled_cells.split_images.cache_clear()
    yield parts
    entangled_cells.split_images.cache_clear()


# -- cells -----------------------------------------------------------------------------


def test_there_are_8_cells_of_vectors_and_one_of_images() -> None:
    names = [cell.name for cell in (*VECTOR_CELLS, *IMAGE_CELLS)]
    assert len(set(names)) == len(names) == 9
    assert {"lost", "msrcv2", "birdsong", "pendigits instance .3"} < set(names)
    assert names[-1] == "Fashion-MNIST instance .3"
    assert all(cell.seeds == (0,) for cell in VECTOR_CELLS)
    assert IMAGE_CELLS[0].seeds == (0, 1, 2)


def test_folds_of_vectors_are_those_of_the_accuracy_table(home: Path) -> None:
    cell = Cell("vehicle", "instance", 0.3)
    found, known = entangled_cells.split_vectors(cell, 0, 1), cells.split(cell, 0, 1)
    for name in ("X", "Y", "y", "X_test", "y_test", "Y_test"):
        assert np.array_equal(getattr(found, name), getattr(known, name))


def test_images_are_rows_of_their_parts_with_their_classes(
    images: dict[str, Bunch],
) -> None:
    split = entangled_cells.split_images(IMAGE_CELLS[0], 0)
    for part, X, y, n in (
        ("train", split.X, split.y, 200),
        ("test", split.X_test, split.y_test, 50),
    ):
        assert X.shape == (n, 784)
        assert X.dtype == np.float32
        known = {
            row.tobytes(): label
            for row, label in zip(images[part].data, images[part].target, strict=True)
        }
        found = np.rint(255 * X).astype(np.uint8)
        assert len({row.tobytes() for row in found}) == n
        assert [known[row.tobytes()] for row in found] == list(y)


@pytest.mark.usefixtures("images")
def test_candidates_of_images_are_those_that_look_alike() -> None:
    split = entangled_cells.split_images(IMAGE_CELLS[0], 0)
    rows = np.arange(len(split.y))
    assert split.Y[rows, split.y].all()
    twin = split.Y[rows, split.y ^ 1].mean()
    stranger = split.Y[rows, (split.y + 2) % 10].mean()
    assert twin > 0.9
    assert stranger < 0.3


@pytest.mark.usefixtures("images")
def test_a_seed_decides_images_and_candidates() -> None:
    first, other = (entangled_cells.split_images(IMAGE_CELLS[0], s) for s in (0, 1))
    assert not np.array_equal(first.X, other.X)
    assert not np.array_equal(first.X_test, other.X_test)
    assert not np.array_equal(first.Y, other.Y)
    entangled_cells.split_images.cache_clear()
    again = entangled_cells.split_images(IMAGE_CELLS[0], 0)
    assert np.array_equal(first.X, again.X)
    assert np.array_equal(first.Y, again.Y)


# -- entangled rows --------------------------------------------------------------------


def test_entangled_rows_do_not_depend_on_the_scale_of_a_column(home: Path) -> None:
    cell = Cell("vehicle", "instance", 0.3)
    split = entangled_cells.split_vectors(cell, 0, 0)
    wide = split.X * np.array([1000] + [1] * 17, dtype=np.float32)
    other = EntangledSplit(**{**vars(split), "X": wide})
    assert split.entangled.keys() == {1e-3, 1e-4, 1e-5}
    for fraction, rows in split.entangled.items():
        assert np.array_equal(rows, other.entangled[fraction])
    assert len(split.entangled[1e-3]) > 100


@pytest.mark.usefixtures("images")
def test_images_are_compared_by_their_components() -> None:
    split = entangled_cells.split_images(IMAGE_CELLS[0], 0)
    F = entangled_cells.components(split.X)
    assert F.shape == (200, 50)
    assert F.T @ F == pytest.approx(np.diag((F**2).sum(axis=0)), abs=1e-6)
    wide = split.X * np.where(np.arange(784) < 100, 16, 1).astype(np.float32)
    assert entangled_cells.components(wide) == pytest.approx(F, abs=1e-6)
    given = split.Y, split.y
    assert np.array_equal(split.entangled[1e-3], entangled_subset(F, *given))
    assert not np.array_equal(split.entangled[1e-3], entangled_subset(split.X, *given))


@pytest.mark.usefixtures("images")
def test_rows_are_compared_once_for_all_methods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[float] = []
    subset = entangled_cells.entangled_subset

    def counted(*args: object, fraction: float) -> NDArray[np.intp]:
        calls.append(fraction)
        return subset(*args, fraction=fraction)

    monkeypatch.setattr(entangled_cells, "entangled_subset", counted)
    for _ in range(2):
        split = entangled_cells.split_images(IMAGE_CELLS[0], 0)
        entangled_cells.measure(_Guesses(split), split, ceiling=False)
    assert sorted(calls) == sorted(entangled_cells.FRACTIONS)


# -- measure ---------------------------------------------------------------------------


class _Guesses:
    """Has the row's class right in even rows, and a class that is no candidate else."""

    def __init__(self, split: EntangledSplit) -> None:
        self.truth, self.Y = split.y, split.Y
        self.classes_ = np.arange(split.Y.shape[1])

    def fit(self, X: object, y: NDArray[np.bool_]) -> None:
        self.label_distribution_ = np.eye(y.shape[1])[self.truth]

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.int64]:
        return np.zeros(len(X), dtype=np.int64)

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        assert len(X) == len(self.truth)
        answers = np.where(self.right, self.truth, self.Y.argmin(axis=1))
        return np.eye(len(self.classes_))[answers]

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.arange(len(self.truth)) % 2 == 0


def test_every_class_may_be_the_answer_on_entangled_rows(home: Path) -> None:
    split = entangled_cells.split_vectors(Cell("vehicle", "instance", 0.3), 0, 0)
    guesses = _Guesses(split)
    figures = entangled_cells.measure(guesses, split, ceiling=False)
    answers = guesses.predict_proba(split.X).argmax(axis=1)
    F = entangled_cells.scaled(split.X)
    for fraction in entangled_cells.FRACTIONS:
        known = entangled_accuracy(split.y, answers, F, split.Y, fraction=fraction)
        assert figures[f"entangled_{fraction:g}"] == pytest.approx(known)
        n_rows = len(split.entangled[fraction])
        assert figures[f"entangled_rows_{fraction:g}"] == n_rows
    assert 0.3 < figures["entangled_0.001"] < 0.7
    assert figures["transductive"] == 1
    assert figures["score"] == (split.y_test == 0).mean()
    assert figures["rows"] == len(split.X)
    assert figures["candidates"] == split.Y.sum() / len(split.Y)
    assert {"fit_seconds", "predict_seconds"} < figures.keys()


@pytest.mark.usefixtures("images")
def test_images_without_test_sets_have_no_covering_rate() -> None:
    split = entangled_cells.split_images(IMAGE_CELLS[0], 0)
    figures = entangled_cells.measure(_Guesses(split), split, ceiling=False)
    assert figures["covering"] is None
    assert figures["transductive"] == 1
    assert "wrong" not in figures


# -- methods ---------------------------------------------------------------------------


def _made(suite: str) -> dict[str, object]:
    return {method.name: method.make(0) for method in SUITES[suite].methods()}


@pytest.mark.parametrize("suite", ["entangled", "entangled-images"])
def test_methods_show_their_settings(suite: str) -> None:
    made = [repr(estimator) for estimator in _made(suite).values()]
    assert len(set(made)) == len(made)
    assert not any(" at 0x" in text for text in made)


@pytest.mark.parametrize("suite", ["entangled", "entangled-images"])
def test_the_methods_of_every_difference_are_there(suite: str) -> None:
    assert {name for pair in entangled_report.PAIRS for name in pair} < set(
        _made(suite)
    )


def test_methods_of_images_are_those_of_vectors_that_take_images() -> None:
    vectors, images = _made("entangled"), _made("entangled-images")
    assert set(vectors) - set(images) == {"PRODEN", "DDMP"}
    epochs = entangled_methods.IMAGE_EPOCHS
    for name, estimator in images.items():
        own = vectors[name].get_params()  # type: ignore[attr-defined]
        given = {"image_shape": (28, 28), "max_epochs": epochs}
        assert estimator.get_params() == own | given  # type: ignore[attr-defined]


def test_parts_differ_from_the_default_as_they_say() -> None:
    default = CADClassifier(random_state=0).get_params()
    changes = {
        name: {k: v for k, v in clf.get_params().items() if default[k] != v}
        for name, clf in _made("entangled").items()
        if isinstance(clf, CADClassifier)
    }
    none = {"augmentation": "none"}
    assert changes == {
        "uniform CE": none | {"candidate_loss": "uniform", "beta": 0},
        "PRODEN, same network": none
        | {"candidate_loss": "progressive", "beta": 0, "momentum": 0},
        "self-weighted by the teacher": none
        | {"candidate_loss": "progressive", "beta": 0},
        "confidence adjustment only": none | {"beta": 0},
        "confidence adjustment, slow teacher": none | {"beta": 0, "momentum": 0.99},
        "alignment only": none | {"candidate_loss": "uniform"},
        "CAD without gates": none,
        "CAD-CAM": {},
    }


@pytest.mark.parametrize("suite", ["entangled", "entangled-images"])
def test_dirk_shares_all_settings_but_those_of_its_loss(suite: str) -> None:
    made = _made(suite)
    dirk, cad = (made[name].get_params() for name in ("DIRK", "CAD-CAM"))  # type: ignore[attr-defined]
    differing = {name for name in dirk if dirk[name] != cad[name]}
    assert differing <= {"beta", "tau", "tau_w"}
    own = type(made["DIRK"])()
    assert (dirk["beta"], dirk["tau"]) == (own.beta, own.tau)
    assert {"hidden", "batch_size", "momentum", "learning_rate"} < dirk.keys()


@pytest.mark.usefixtures("home", "images")
@pytest.mark.parametrize("what", ["entangled", "entangled-images"])
def test_a_suite_measures_its_family_on_its_cells(what: str) -> None:
    suite = SUITES[what]
    split = suite.split(suite.cells[-1], 0, 0)
    short = _made(what)["uniform CE"].set_params(max_epochs=1)  # type: ignore[attr-defined]
    figures = suite.measure(short, split, False)
    assert {"transductive", "entangled_0.001", "fit_seconds"} < figures.keys()
    assert "## Test accuracy" in suite.body(_scores(ACCURACY))


# -- report ----------------------------------------------------------------------------

A, B = "vehicle instance .3", "lost"
ACCURACY = {
    A: {
        "uniform CE": (0.70, 0.72),
        "PRODEN, same network": (0.80, 0.80),
        "confidence adjustment only": (0.71, 0.75),
        "CAD-CAM": (0.80, 0.80),
        "DIRK": (0.81, 0.81),
    },
    B: {
        "uniform CE": (0.60, 0.62),
        "PRODEN, same network": (0.50, 0.50),
        "confidence adjustment only": (0.60, 0.60),
        "CAD-CAM": (0.70, 0.70),
        "DIRK": (0.65, 0.65),
    },
}


def _scores(table: dict[str, dict[str, tuple[float, ...]]]) -> Scores:
    """Entangled rows are told right half as often as others, beliefs always."""
    results = [
        {
            "method": method,
            "kind": "ours" if method == "CAD-CAM" else "ablation",
            "cell": cell,
            "seed": 0,
            "fold": k,
            "score": score,
            "transductive": 1.0,
            "entangled_0.001": score / 2,
            "entangled_rows_0.001": 150 + k,
            "entangled_0.0001": score / 4,
            "entangled_rows_0.0001": 99 + k + (cell == A),
            "entangled_1e-05": score / 8,
            "entangled_rows_1e-05": 9,
            "rows": 500,
            "candidates": 2.5,
            "fit_seconds": 3.0,
        }
        for cell, row in table.items()
        for method, folds in row.items()
        for k, score in enumerate(folds)
    ]
    return Scores.of(results, list(table), list(table[A]))


def test_goals_are_paired_and_name_what_was_missed() -> None:
    assert entangled_report.entangled_goals(_scores(ACCURACY)) == [
        "- **missed**: confidence adjustment only above uniform CE in each of 2 cells: "
        "1; misses: lost (-0.0100 ± 0.0100)",
        "- met: confidence adjustment only above PRODEN, same network in mean: "
        "+0.0150 ± 0.0497 over 4 runs",
    ]


def test_equal_is_not_above() -> None:
    table = {cell: dict.fromkeys(row, (0.8, 0.8)) for cell, row in ACCURACY.items()}
    goals = entangled_report.entangled_goals(_scores(table))
    assert len(goals) == 2
    assert all("**missed**" in line for line in goals)


def test_there_are_no_goals_and_differences_before_both_are_complete() -> None:
    scores = _scores(ACCURACY)
    del scores.score[A, "confidence adjustment only"][0, 0]
    assert entangled_report.entangled_goals(scores) == []
    head, *_ = entangled_report.differences(scores)
    assert head == "| cell | CAD-CAM minus DIRK |"
    del scores.score[A, "CAD-CAM"][0, 0]
    assert entangled_report.differences(scores) == []


def test_differences_are_of_each_cell_and_of_all() -> None:
    scores = _scores(ACCURACY)
    head, _, *rows = entangled_report.differences(scores)
    assert "CAD without gates" not in head  # not run
    assert head.split(" | ")[3:] == [
        "CAD-CAM minus confidence adjustment only",
        "CAD-CAM minus DIRK |",
    ]
    assert [row.split(" | ")[4] for row in rows] == [
        "-0.0100 ± 0.0000 |",
        "+0.0500 ± 0.0000 |",
        "+0.0200 ± 0.0173 |",
    ]


def test_an_accuracy_of_few_rows_is_not_told() -> None:
    scores = _scores(ACCURACY)
    found = {
        fraction: entangled_report.entangled(scores, fraction)
        for fraction in entangled_cells.FRACTIONS
    }
    # On average 150.5, and of smaller fractions 100.5, 99.5 and 9.
    assert found[1e-3].cells == [A, B]
    assert found[1e-4].cells == [A]
    assert found[1e-5].cells == []
    assert found[1e-4].mean(A, "DIRK") == pytest.approx(0.81 / 4)


@pytest.mark.parametrize("body", ["vectors_body", "images_body"])
def test_the_report_has_a_table_for_each_accuracy(body: str) -> None:
    text = "\n".join(getattr(entangled_report, body)(_scores(ACCURACY)))
    parts = dict(part.split("\n", 1) for part in text.split("## ")[1:])
    assert f"| {A} | 500 | 2.50 | 150 | 100 | 9 |" in text.split("## ")[0]
    assert "| .730 ± .028 (4) |" in parts["Test accuracy"]
    hard = parts["Accuracy on entangled training rows"]
    assert "| .365 ± .014 (4) |" in hard
    assert "0.0001 of the pairs:" in hard
    assert "1e-05 of the pairs:" not in hard
    assert "| 1.000 ± .000 (3) |" in parts["Accuracy of beliefs about training rows"]
    assert "| DIRK | 1.50 | .730 | 1.000 | .365 | 3.00 |" in parts["By method"]
    assert "**missed**" in parts["Against the goals"]
    tables = parts["Differences"].split("On the rows in 0.001 of the pairs:")
    for table, gap in zip(tables, ("+0.0500", "+0.0250"), strict=True):
        assert f"{gap} ± 0.0000 |" in table


def test_a_report_on_one_method_has_no_differences() -> None:
    table = {cell: {"DIRK": row["DIRK"]} for cell, row in ACCURACY.items()}
    text = "\n".join(entangled_report.vectors_body(_scores(table)))
    assert "## By method" in text
    assert "## Differences" not in text
    assert "goals" not in text


# -- CIFAR-10 --------------------------------------------------------------------------


class TestCIFAR:
    def test_methods_go_on_where_they_were_cut_off(self) -> None:
        made = [method.make(0) for method in entangled_cifar.methods()]
        assert [method.name for method in entangled_cifar.methods()] == [
            "uniform CE",
            "confidence adjustment only",
            "CAD-CAM",
        ]
        for estimator in made:
            params = estimator.get_params()
            assert params["backbone"] == "resnet18"
            assert params["image_shape"] == (32, 32, 3)
            assert params["max_epochs"] >= 15
            assert params["checkpoint_dir"].endswith("checkpoints")

    def test_small_twin_runs_on_a_cpu(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        rng = np.random.RandomState(0)
        y = np.arange(200) % 10
        images = (20 * y + rng.randint(50, size=(3, 32, 32, 200))).T.astype(np.uint8)

        def fetch(home: Path, *, subset: str, **options: bool) -> tuple[object, ...]:
            n = {"train": 20, "test": 10}[subset]
            return images[:n], y[:n]

        monkeypatch.setattr(entangled_cifar, "fetch_cifar10", fetch)
        monkeypatch.setattr(entangled_cifar, "EPOCHS", 2)
        monkeypatch.setattr(entangled_cifar, "FOLDER", tmp_path)
        split = entangled_cifar.split.__wrapped__(entangled_cifar.CELLS[0], 0)
        assert split.X.shape == (20, 3072)
        assert split.X.max() <= 1
        assert split.Y[np.arange(20), split.y].all()
        assert np.array_equal(
            np.rint(255 * split.X_test[3]).reshape(32, 32, 3), images[3]
        )
        suite = SUITES["entangled-cifar"]
        estimator = entangled_cifar.methods()[1].make(0)  # the cheapest
        figures = suite.measure(estimator, split, ceiling=False)
        assert 0 <= figures["score"] <= 1

    def test_order_is_told_pair_by_pair(self) -> None:
        accuracy = {
            "uniform CE": 0.5,
            "confidence adjustment only": 0.7,
            "CAD-CAM": 0.6,
        }
        results = [
            {"method": m, "kind": "ours", "cell": "c", "seed": 0, "fold": 0, "score": a}
            for m, a in accuracy.items()
        ]
        lines = entangled_cifar.order(Scores.of(results, ["c"], list(accuracy)))
        assert lines == [
            "- met: confidence adjustment only above uniform CE: +0.2000",
            "- **missed**: CAD-CAM above confidence adjustment only: -0.1000",
        ]
