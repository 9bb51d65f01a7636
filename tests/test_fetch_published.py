"""The registry is whole, its page agrees, and real files are as published."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from sklabeldiff import datasets
from sklabeldiff.datasets._registry import DATA_SETS

PAGE = Path(__file__).parents[1] / "docs" / "datasets.rst"
FILES = [(name, file) for name, facts in DATA_SETS.items() for file in facts.files]
every_set = pytest.mark.parametrize("name", DATA_SETS)
every_file = pytest.mark.parametrize(
    ("name", "file"), FILES, ids=[f"{name}-{file.name}" for name, file in FILES]
)


class TestRegistry:
    @every_set
    def test_terms_and_origin_are_stated(self, name):
        facts = DATA_SETS[name]
        assert facts.licence and facts.by_hand
        assert re.search(r"(19|20)\d\d\.", facts.citation)
        assert re.match(r"https?://[\w.-]+", facts.home_page)

    @every_set
    def test_names_of_the_classes_are_all_or_none(self, name):
        facts = DATA_SETS[name]
        named = len(set(facts.target_names))
        assert named == (facts.n_classes if facts.target_names else 0)

    @every_file
    def test_every_file_has_a_checksum(self, name, file):
        assert re.fullmatch(r"sha256:[0-9a-f]{64}|git:[0-9a-f]{40}", file.hash)

    def test_only_files_known_by_listing_alone_have_the_id_of_git(self):
        by_id = {name for name, file in FILES if file.hash.startswith("git:")}
        assert by_id == {"soccer_player", "yahoo_news", "mirflickr", "plcifar10"}

    @every_file
    def test_address_on_github_is_pinned_to_a_commit(self, name, file):
        assert file.urls
        for url in file.urls:
            assert re.match(r"https?://", url) and " " not in url
            if "github" in url:
                assert re.search(r"\.com/[\w-]+/[\w.-]+/[0-9a-f]{40}/", url)

    def test_no_checksum_is_there_twice(self):
        hashes = [file.hash for _, file in FILES]
        assert len(hashes) == len(set(hashes))

    def test_fetchers_and_registry_name_each_other(self):
        public = {name for name in datasets.__all__ if name.startswith("fetch_")}
        assert public == {facts.function for facts in DATA_SETS.values()}

    @every_set
    def test_folders_of_sets_with_files_of_one_name_differ(self, name):
        # "answers.txt" of one crowd must not be read for another's.
        facts = DATA_SETS[name]
        names = {file.name for file in facts.files}
        for other, its in DATA_SETS.items():
            if other != name and names & {file.name for file in its.files}:
                assert not set(facts.folders) & set(its.folders)


@pytest.fixture(scope="module")
def lines():
    """Cells of the page's table, by the title of the set."""
    rows = PAGE.read_text().split("   * - ")[1:]
    cells = [[c.strip() for c in row.split("\n     - ")] for row in rows]
    return {row[0]: row[1:] for row in cells}


class TestPage:
    @every_set
    def test_table_agrees_with_the_registry(self, lines, name):
        facts = DATA_SETS[name]
        rows, n_classes, labels, licence, home, function = lines[facts.title]
        assert rows == " + ".join(f"{n:,}" for n in facts.rows.values())
        assert n_classes == str(facts.n_classes)
        assert labels == facts.labels and licence == facts.licence
        assert facts.home_page in home
        assert (
            function.split("\n")[0] == f":func:`~sklabeldiff.datasets.{facts.function}`"
        )

    def test_table_has_no_other_sets(self, lines):
        titles = {facts.title for facts in DATA_SETS.values()}
        assert set(lines) == titles | {"Set"}


@pytest.mark.parametrize(
    "name", [name for name in datasets.__all__ if name.startswith("fetch_")]
)
def test_fetchers_share_their_parameters(name):
    parameters = list(inspect.signature(getattr(datasets, name)).parameters.values())
    assert [p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD] == (
        ["name", "data_home"] if name == "fetch_pll" else ["data_home"]
    )
    assert [(p.name, p.default) for p in parameters[-4:]] == [
        ("download_if_missing", True),
        ("return_X_y", False),
        ("as_frame", False),
        ("verbose", False),
    ]


# Of the real files.


@pytest.mark.parametrize(
    ("name", "n_candidates", "n_occurring"),
    [("lost", 2.232, 14), ("msrcv2", 3.156, 23), ("birdsong", 2.175, 13)],
)
def test_table_of_the_field_is_as_published(data_home, name, n_candidates, n_occurring):
    data = datasets.fetch_pll(name, data_home, download_if_missing=False)
    assert data.candidates.sum(axis=1).mean() == pytest.approx(n_candidates, abs=5e-4)
    assert np.unique(data.target).size == n_occurring
    assert data.candidates[np.arange(len(data.target)), data.target].all()
    assert f"{n_candidates} candidates a row" in data.DESCR


def test_cifar10h_is_as_published(data_home):
    data = datasets.fetch_cifar10h(data_home, features=True, download_if_missing=False)
    assert data.candidates.sum(axis=1).mean() == pytest.approx(1.940, abs=5e-4)
    inside = data.candidates[np.arange(10_000), data.target].mean()
    assert inside == pytest.approx(0.9996, abs=5e-5)
    assert data.counts.sum(axis=1).mean() == pytest.approx(51, abs=0.5)
    assert (data.counts.argmax(axis=1) == data.target).mean() == pytest.approx(
        0.9921, abs=5e-4
    )
    assert data.data.shape == (10_000, 128)


def test_packed_images_of_cifar10_look_like_photographs(data_home):
    data = datasets.fetch_cifar10(data_home, subset="test", download_if_missing=False)
    assert data.images.shape == (10_000, 32, 32, 3)
    np.testing.assert_array_equal(np.bincount(data.target), [1000] * 10)
    # Published means of the channels of the test images, of 255.
    means = data.images.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(means, [0.4942, 0.4851, 0.4504], atol=1e-4)
    # Neighbours resemble each other, which a wrong order of planes would break.
    step = np.abs(np.diff(data.images[:100].astype(int), axis=2)).mean()
    assert step < 15


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_images_are_as_published(data_home, name):
    fetch = getattr(datasets, f"fetch_{name}")
    data = fetch(data_home, subset="test", download_if_missing=False)
    assert data.data.shape == (10_000, 784)
    assert (
        data.target[:4].tolist()
        == {
            "mnist": [7, 2, 1, 0],
            "fashion_mnist": [9, 2, 1, 1],
        }[name]
    )
    # Published means of the training images are 0.1307 and 0.2860 of 255.
    mean = {"mnist": 0.1325, "fashion_mnist": 0.2868}[name]
    assert data.data.mean() / 255 == pytest.approx(mean, abs=1e-4)


def test_sentiment_is_as_published(data_home):
    data = datasets.fetch_sentiment(data_home, download_if_missing=False)
    asked = data.answers >= 0
    assert asked.sum() == 27_746 and data.answers.shape == (4999, 203)
    right = (data.answers == data.target[:, None])[asked].mean()
    assert right == pytest.approx(0.789, abs=5e-4)
    assert data.data[0] == "the cast is phenomenal , especially the women ."
    assert data.data_test.shape == (3999,)
