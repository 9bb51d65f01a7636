"""The benchmarks on images: data, what is run where, and goals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import image_cells, image_methods, image_report
from benchmarks.frame import Split
from benchmarks.image_cells import CELLS, NOISY_CELLS, SET_CELLS, ImageCell, Images
from benchmarks.scores import Scores
from benchmarks.suites import SUITES
from sklabeldiff.baselines import PLKNNClassifier

N_POOL, N_PART = 4000, 200
THREE_ANSWERS = ImageCell("CIFAR-10N", "three answers")
SHARES = ImageCell("CIFAR-10H", "shares")
WORST = ImageCell("CIFAR-10N", "worst")


@pytest.fixture
def home(data_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SKLABELDIFF_DATA", str(data_home))
    image_cells.split.cache_clear()
    yield data_home
    image_cells.split.cache_clear()


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Images]:
    """Random images of ten classes in place of both sets."""
    rng = np.random.RandomState(0)
    y, y_test = np.arange(N_POOL) % 10, np.arange(N_PART) % 10
    X, X_test = (
        rng.standard_normal((len(codes), 4)).astype(np.float32) for codes in (y, y_test)
    )
    images = Images(X, y, X_test, y_test)
    monkeypatch.setattr(image_cells, "load_images", lambda dataset: images)
    image_cells.split.cache_clear()
    yield images
    image_cells.split.cache_clear()


def _rows_in(part: NDArray[np.float32], whole: NDArray[np.float32]) -> list[bool]:
    known = {row.tobytes() for row in whole}
    return [row.tobytes() in known for row in part]


# -- cells -----------------------------------------------------------------------------


def test_there_are_12_cells_with_names_of_their_own() -> None:
    names = {cell.name for cell in CELLS}
    assert len(names) == len(CELLS) == 12
    assert {"CIFAR-10 uniform .1", "Fashion-MNIST instance 1"} < names
    assert {"CIFAR-10N three answers", "CIFAR-10H shares", "CIFAR-10N worst"} < names
    assert all(cell.seeds == (0, 1, 2) for cell in CELLS)


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("dataset", ["CIFAR-10", "Fashion-MNIST"])
@pytest.mark.parametrize(("rate", "size"), [(0.1, 1.9), (0.3, 3.7), (0.5, 5.5)])
def test_uniform_sets_hold_the_truth_and_have_the_stated_size(
    dataset: str, rate: float, size: float
) -> None:
    split = image_cells.split(ImageCell(dataset, "uniform", rate), 0)
    for Y, y in ((split.Y, split.y), (split.Y_test, split.y_test)):
        assert Y is not None
        assert Y[np.arange(len(y)), y].all()
        # The test part has 200 rows: the standard error of their mean is .1.
        assert Y.sum(axis=1).mean() == pytest.approx(size, abs=0.4)


def test_made_labels_keep_the_test_part_whole(pool: Images) -> None:
    split = image_cells.split(ImageCell("CIFAR-10", "uniform", 0.3), 0)
    assert len(split.X) == image_cells.N_TRAIN
    assert np.array_equal(split.X_test, pool.X_test)
    assert np.array_equal(split.y_test, pool.y_test)
    assert all(_rows_in(split.X, pool.X))


@pytest.mark.usefixtures("pool")
def test_a_seed_decides_rows_and_candidates() -> None:
    cell = ImageCell("CIFAR-10", "uniform", 0.3)
    first, other = image_cells.split(cell, 0), image_cells.split(cell, 1)
    assert not np.array_equal(first.X, other.X)
    assert not np.array_equal(first.Y, other.Y)
    image_cells.split.cache_clear()
    again = image_cells.split(cell, 0)
    assert np.array_equal(first.X, again.X)
    assert np.array_equal(first.Y, again.Y)


@pytest.mark.usefixtures("pool")
def test_rates_share_their_rows_and_nest_their_sets() -> None:
    low, high = (
        image_cells.split(ImageCell("CIFAR-10", "uniform", q), 0) for q in (0.1, 0.5)
    )
    assert np.array_equal(low.X, high.X)
    assert (low.Y <= high.Y).all()
    assert low.Y.sum() < high.Y.sum()


def test_instance_candidates_are_those_that_features_confuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.RandomState(0)
    y = np.arange(N_POOL) % 10
    X = rng.standard_normal((N_POOL, 5)) + 4 * np.eye(5)[y // 2]  # in pairs alike
    images = Images(X.astype(np.float32), y, X[:500].astype(np.float32), y[:500])
    monkeypatch.setattr(image_cells, "load_images", lambda dataset: images)
    image_cells.split.cache_clear()
    split = image_cells.split(ImageCell("CIFAR-10", "instance", 1.0), 0)
    image_cells.split.cache_clear()
    rows = np.arange(len(split.y))
    assert split.Y[rows, split.y].all()
    twin = split.Y[rows, split.y ^ 1].mean()
    stranger = split.Y[rows, (split.y + 2) % 10].mean()
    assert twin > 0.95
    assert stranger < 0.5


def test_instance_sets_have_the_stated_size(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y, X_test, y_test = image_cells.load_images("CIFAR-10")
    few = Images(X, y, X_test[:500], y_test[:500])  # an annotator reads these, too
    monkeypatch.setattr(image_cells, "load_images", lambda dataset: few)
    split = image_cells.split(ImageCell("CIFAR-10", "instance", 1.0), 0)
    assert split.Y.sum(axis=1).mean() == pytest.approx(4.4, abs=0.1)


def test_three_answers_make_the_sets_of_their_own_images(home: Path) -> None:
    split = image_cells.split(THREE_ANSWERS, 0)
    assert split.Y.shape == (image_cells.N_TRAIN, 10)
    assert split.X_test.shape == (image_cells.N_TEST, 128)
    assert not any(_rows_in(split.X, split.X_test))
    # Rows and labels out of step would miss the truth in most rows.
    for Y, y in ((split.Y, split.y), (split.Y_test, split.y_test)):
        assert Y is not None
        assert Y.sum(axis=1).mean() == pytest.approx(1.46, abs=0.03)
        assert Y[np.arange(len(y)), y].mean() == pytest.approx(0.979, abs=0.01)
        assert set(Y.sum(axis=1)) == {1, 2, 3}


def test_shares_sum_to_one_and_favour_the_truth(home: Path) -> None:
    split = image_cells.split(SHARES, 0)
    n_test = 10_000 - image_cells.N_TRAIN
    assert split.Y.shape == (image_cells.N_TRAIN, 10)
    assert split.X_test.shape == (n_test, 128)
    assert split.Y.sum(axis=1) == pytest.approx(1)
    assert (split.Y.argmax(axis=1) == split.y).mean() > 0.98
    assert split.Y_test is not None
    assert split.Y_test.dtype == bool
    assert split.Y_test[np.arange(n_test), split.y_test].mean() > 0.99


@pytest.mark.parametrize(("labels", "wrong"), [("random1", 0.17), ("worst", 0.40)])
def test_one_human_label_is_wrong_as_often_as_published(
    home: Path, labels: str, wrong: float
) -> None:
    split = image_cells.split(ImageCell("CIFAR-10N", labels), 0)
    assert split.Y.shape == (image_cells.N_TRAIN,)
    assert split.Y_test is None
    assert (split.Y != split.y).mean() == pytest.approx(wrong, abs=0.025)


def test_human_labels_of_a_seed_are_of_the_same_images(home: Path) -> None:
    splits = [image_cells.split(cell, 2) for cell in (THREE_ANSWERS, WORST)]
    assert np.array_equal(splits[0].X, splits[1].X)
    other = image_cells.split(WORST, 1)
    assert not np.array_equal(splits[1].X, other.X)


# -- what is run where -----------------------------------------------------------------

SETS = Split(
    X=np.array([[0.0], [1.0]], dtype=np.float32),
    Y=np.eye(2, dtype=bool),
    y=np.array([0, 1]),
    X_test=np.array([[0.1], [0.9], [0.8], [0.7]], dtype=np.float32),
    y_test=np.array([0, 1, 1, 0]),
    Y_test=np.ones((4, 2), dtype=bool),
)
LABELS = Split(SETS.X, SETS.y, SETS.y, SETS.X_test, SETS.y_test)


class _Refused:
    """Takes one label a row: fails on sets."""

    def fit(self, X: object, y: NDArray[np.int64]) -> None:
        assert y.ndim == 1

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.int64]:
        return X[:, 0].round().astype(np.int64)


def test_methods_for_one_label_are_not_run_on_sets() -> None:
    assert np.isnan(image_cells.measure(_Refused(), SETS, ceiling=False)["score"])
    assert image_cells.measure(_Refused(), LABELS, ceiling=False)["score"] == 0.75
    assert image_cells.measure(_Refused(), SETS, ceiling=True)["score"] == 0.75


@pytest.mark.parametrize("split", [SETS, LABELS])
def test_methods_for_sets_are_run_on_all(split: Split) -> None:
    figures = image_cells.measure(PLKNNClassifier(1), split, ceiling=False)
    assert figures["score"] == 0.75


def test_only_two_methods_are_left_out_on_sets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def accuracy(*args: object) -> dict[str, float]:
        return {"score": 1.0}

    monkeypatch.setattr(image_cells.measures, "accuracy", accuracy)
    left_out = {
        m.name
        for m in image_methods.image_methods()
        if np.isnan(image_cells.measure(m.make(0), SETS, m.kind == "ceiling")["score"])
    }
    assert left_out == set(image_report.NOISY_RIVALS)


def test_methods_have_names_of_their_own_and_every_rival_is_among_them() -> None:
    names = [method.name for method in SUITES["images"].methods()]
    assert len(set(names)) == len(names) == 20
    ours = {m.name for m in image_methods.image_methods() if m.kind == "ours"}
    assert ours == {image_report.SET_OURS, image_report.NOISY_OURS, "DMIS"}
    assert {*image_report.SET_RIVALS, *image_report.NOISY_RIVALS} < set(names)


def test_the_plain_vote_counts_near_and_far_alike() -> None:
    X, y, row = np.array([[0.0], [2.0], [9.0]]), [0, 1, 1], np.array([[0.1]])
    plain = image_methods.neighbour_vote(0).set_params(n_neighbors=2)
    weighted = PLKNNClassifier(2)
    assert plain.fit(X, y).predict_proba(row) == pytest.approx(0.5)
    assert weighted.fit(X, y).predict_proba(row)[0, 0] > 0.9


def test_the_unscaled_vote_heeds_the_size_of_a_column() -> None:
    rng = np.random.RandomState(0)
    y = np.arange(200) % 2
    noise = rng.standard_normal((200, 20))
    X = np.column_stack([100 * (y - 0.5), noise])  # one large column, 20 small
    votes = [
        make(0).fit(X[:100], y[:100]).predict_proba(X[100:])[range(100), y[100:]]
        for make in (image_methods.unscaled_vote, image_methods.neighbour_vote)
    ]
    assert votes[0].min() == 1
    assert votes[1].min() < 1


# -- report ----------------------------------------------------------------------------

A, B, NOISY = SET_CELLS[0].name, SET_CELLS[1].name, "CIFAR-10N worst"
SCORES = {
    A: {"DDMP": 0.80, "PL-kNN": 0.70, "kNN vote": 0.60, "PRODEN": 0.90, "DTM": 0.79},
    B: {"DDMP": 0.80, "PL-kNN": 0.81, "kNN vote": 0.60, "PRODEN": 0.75, "DTM": 0.79},
    NOISY: {
        **{"DDMP": 0.5, "PL-kNN": 0.5, "kNN vote": 0.5, "PRODEN": 0.5, "DTM": 0.78},
        **{"cross-entropy": 0.60, "CleanLearning": 0.79},
    },
}


def _scores(table: dict[str, dict[str, float]]) -> Scores:
    results = [
        {
            "method": method,
            "kind": "ours" if method in ("DDMP", "DTM") else "baseline",
            "cell": cell,
            "seed": seed,
            "fold": 0,
            "score": row.get(method, np.nan) + (seed - 1) / 100,
            "rows": 100,
            "wrong": 0.4,
            "fit_seconds": 1.0 if cell == NOISY else 5.0,
        }
        for cell, row in table.items()
        for method in table[NOISY]
        for seed in (0, 1, 2)
    ]
    return Scores.of(results, list(table), list(table[NOISY]))


def test_goals_of_sets_name_what_was_missed() -> None:
    sets = image_report.part(_scores(SCORES), SET_CELLS)
    assert image_report.set_goals(sets) == [
        "- met: DDMP above PL-kNN on average: +0.0450 ± 0.0246 over 6 runs",
        f"- **missed**: DDMP above PL-kNN in each of 2 cells: 1; misses: {B} (-0.0100)",
        "- met: DDMP above kNN vote on average: +0.2000 ± 0.0000 over 6 runs",
        "- met: DDMP above kNN vote in each of 2 cells: 2; misses: none",
        "- **missed**: DDMP above PRODEN on average: -0.0250 ± 0.0335 over 6 runs",
        f"- **missed**: DDMP above PRODEN in each of 2 cells: 1; misses: {A} (-0.1000)",
    ]


def test_goals_of_wrong_labels_are_those_of_the_worst() -> None:
    noisy = image_report.part(_scores(SCORES), NOISY_CELLS)
    assert image_report.noisy_goals(noisy) == [
        f"- met: DTM above cross-entropy on {NOISY}: +0.1800 ± 0.0000 over 3 runs",
        f"- **missed**: DTM above CleanLearning on {NOISY}: "
        "-0.0100 ± 0.0000 over 3 runs",
    ]


def test_equal_is_not_above() -> None:
    table = {cell: dict.fromkeys(SCORES[NOISY], 0.8) for cell in SCORES}
    scores = _scores(table)
    goals = [
        *image_report.set_goals(image_report.part(scores, SET_CELLS)),
        *image_report.noisy_goals(image_report.part(scores, NOISY_CELLS)),
    ]
    assert len(goals) == 8
    assert all("**missed**" in line for line in goals)


def test_there_are_no_goals_before_ours_is_complete() -> None:
    scores = _scores(SCORES)
    del scores.score[A, "DDMP"][0, 0]
    del scores.score[NOISY, "DTM"][0, 0]
    assert image_report.set_goals(image_report.part(scores, SET_CELLS)) == []
    assert image_report.noisy_goals(image_report.part(scores, NOISY_CELLS)) == []


def test_a_part_has_its_own_cells_methods_and_seconds() -> None:
    sets = image_report.part(_scores(SCORES), SET_CELLS)
    noisy = image_report.part(_scores(SCORES), NOISY_CELLS)
    assert sets.cells == [A, B]
    assert sets.methods == list(SCORES[A])
    assert noisy.cells == [NOISY]
    assert noisy.methods == list(SCORES[NOISY])
    assert sets.average("fit_seconds", method="DTM") == 5
    assert noisy.average("fit_seconds", method="DTM") == 1


def test_the_report_shows_both_tables_and_labels_the_claims() -> None:
    text = "\n".join(image_report.images_body(_scores(SCORES)))
    sets, noisy, rest = (
        text[text.index(first) : text.index(last)]
        for first, last in (
            ("## Candidate sets", "## Wrong labels"),
            ("## Wrong labels", "## Against the goals"),
            ("## Against the goals", "## What papers claim"),
        )
    )
    assert f"| {A} | .800 ± .010 (2) |" in sets
    assert "cross-entropy" not in sets.split("\n\n", 2)[2]
    assert "| .780 ± .010 (2) | .600 ± .010 (3) | .790 ± .010 (1) |" in noisy
    assert f"| {B} | -0.0100 ± 0.0000 | +0.2000 ± 0.0000 | +0.0500 ± 0.0000 |" in rest
    assert "within max(one standard error, .01), in 0 of 2 rows" in rest
    claims = text[text.index("## What papers claim, with other encoders") :]
    assert "Claims, not results of this run" in claims
    assert "| DDMP | 94.37 % |" in claims


def test_a_claim_stands_beside_the_cells_that_come_nearest() -> None:
    lines = image_report.claims(_scores(SCORES))
    assert {cell.name for cell in CELLS} >= set(image_report.UNIFORM)
    ddmp = next(line for line in lines if line.startswith("| DDMP | 93.43 %"))
    assert ddmp.endswith("| .800 / .800 / - |")
    dtm = next(line for line in lines if line.startswith("| DTM"))
    assert dtm.endswith("| - |")
