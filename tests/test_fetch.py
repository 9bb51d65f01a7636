"""Fetchers, against a server on this machine that has tiny sets in true layouts."""

import csv
import gzip
import hashlib
import io
import logging
import pickle
import struct
import sys
import tarfile
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.io import savemat
from scipy.sparse import csc_matrix

from sklabeldiff import datasets
from sklabeldiff.datasets import _download
from sklabeldiff.datasets._registry import DATA_SETS
from sklabeldiff.targets import encode_candidates

N_TRAIN, N_VALID, N_TEST = 10, 4, 6
N_ROWS = {"train": N_TRAIN, "valid": N_VALID, "test": N_TEST}
N_FEATURES = 5  # of the tables
PLL = ("lost", "msrcv2", "birdsong", "soccer_player", "yahoo_news", "mirflickr")
# Set: fetcher, and what `fit` takes as y.
FETCHERS = {
    **{name: (partial(datasets.fetch_pll, name), "candidates") for name in PLL},
    "cifar10": (datasets.fetch_cifar10, "target"),
    "cifar100": (datasets.fetch_cifar100, "target"),
    "cifar10n": (datasets.fetch_cifar10n, "candidates"),
    "cifar100n": (datasets.fetch_cifar100n, "noisy"),
    "cifar10h": (datasets.fetch_cifar10h, "candidates"),
    "plcifar10": (datasets.fetch_plcifar10, "candidates"),
    "fashion_mnist": (datasets.fetch_fashion_mnist, "target"),
    "mnist": (datasets.fetch_mnist, "target"),
    "labelme": (datasets.fetch_labelme, "candidates"),
    "sentiment": (datasets.fetch_sentiment, "candidates"),
    "music_genre": (datasets.fetch_music_genre, "candidates"),
}
every_set = pytest.mark.parametrize("name", FETCHERS)


def classes(n, n_classes, shift=0):
    return (np.arange(n) * 3 + shift) % n_classes


def pixels(n, shape):
    """Every pixel another value, as far as a byte goes."""
    return (np.arange(n * np.prod(shape)) % 251).astype(np.uint8).reshape(n, *shape)


# The public layouts, written into a folder.


def write_pll(name, folder):
    n_classes = DATA_SETS[name].n_classes
    truth = np.eye(n_classes)[classes(N_TRAIN, n_classes)]
    second = np.eye(n_classes)[classes(N_TRAIN, n_classes, 1)]
    arrays = {
        "data": np.arange(N_TRAIN * N_FEATURES, dtype=float).reshape(N_TRAIN, -1),
        "target": csc_matrix(truth.T),
        "partial_target": csc_matrix((truth + second).T),
    }
    savemat(folder / DATA_SETS[name].files[0].name, arrays)


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes the way Python 2 did, which made the batches of CIFAR."""

    def save_string(self, value):
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"T" + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch: ClassVar = {
        **pickle._Pickler.dispatch,
        str: save_string,
        bytes: save_string,
    }


def python2_pickle(value):
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core.", b"numpy.core.")


def cifar_batches(name):
    """Files of the archive, by their names in it."""
    folder, key, n_classes = {
        "cifar10": ("cifar-10-batches-py", "labels", 10),
        "cifar100": ("cifar-100-python", "fine_labels", 100),
    }[name]
    sizes = {"train": N_TRAIN, "test": N_TEST}
    if name == "cifar10":
        sizes = {f"data_batch_{k}": N_TRAIN // 5 for k in range(1, 6)}
        sizes["test_batch"] = N_TEST
    batches, first = {}, 0
    for file, n in sizes.items():
        if file.startswith("test"):
            first = 0
        rows = slice(first, first + n)
        planes = pixels(first + n, (3, 32, 32))[rows]
        labels = classes(first + n, n_classes)[rows].tolist()
        batch = {"data": planes.reshape(n, -1), key: labels, "batch_label": "x"}
        batches[f"{folder}/{file}"] = python2_pickle(batch)
        first += n
    return batches


def write_cifar(name, folder):
    with tarfile.open(folder / DATA_SETS[name].files[0].name, "w:gz") as archive:
        # Not in the order of their numbers, as in the true archive.
        for file, content in reversed(cifar_batches(name).items()):
            member = tarfile.TarInfo(file)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_cifar10n(folder):
    labels = {"clean_label": classes(N_TRAIN, 10)}
    for k, key in enumerate(
        [
            "random_label1",
            "random_label2",
            "random_label3",
            "aggre_label",
            "worse_label",
        ]
    ):
        labels[key] = classes(N_TRAIN, 10, k)
    torch.save(labels, folder / "CIFAR-10_human.pt")


def write_cifar100n(folder):
    labels = {
        "clean_label": classes(N_TRAIN, 100),
        "noisy_label": classes(N_TRAIN, 100, 1),
        "noisy_coarse_label": [0] * N_TRAIN,
    }
    torch.save(labels, folder / "CIFAR-100_human.pt")


def write_cifar10h(folder):
    counts = 50 * np.eye(10, dtype=np.int64)[classes(N_TEST, 10)]
    counts[1, 9] = 2
    np.save(folder / "cifar10h-counts.npy", counts)


def write_plcifar10(folder):
    truth = classes(N_TRAIN, 10)
    sets = {row: [[int(label)], [int(label), 1]] for row, label in enumerate(truth)}
    sets[0] = [[0, 2], [0, 7, 3], [4, 5, 6]]
    (folder / "plcifar10.pkl").write_bytes(pickle.dumps(sets))


def idx_bytes(array):
    """IDX: 8 for bytes, the number of axes, their lengths, the values."""
    header = struct.pack(">HBB", 0, 8, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder):
    for prefix, n in (("train", N_TRAIN), ("t10k", N_TEST)):
        labels = classes(n, 10).astype(np.uint8)
        for kind, array in (
            ("images-idx3", pixels(n, (28, 28))),
            ("labels-idx1", labels),
        ):
            content = gzip.compress(idx_bytes(array))
            (folder / f"{prefix}-{kind}-ubyte.gz").write_bytes(content)


def crowd_answers(n_classes):
    """Three annotators, one or two answers a row."""
    answers = np.full((N_TRAIN, 3), -1)
    answers[:, 0] = classes(N_TRAIN, n_classes)
    answers[::2, 2] = classes(N_TRAIN, n_classes, 1)[::2]
    answers[1, 0], answers[1, 1] = -1, answers[1, 0]
    return answers


def write_labelme(folder):
    for part, n in N_ROWS.items():
        features = np.ones((n, 512), dtype=np.float32) * np.arange(n)[:, None]
        np.save(folder / f"LabelMe_VGG_avg_{part}.npy", features)
        np.savetxt(folder / f"LabelMe_Z_{part}.txt", classes(n, 8), fmt="%d")
    np.savetxt(folder / "answers.txt", crowd_answers(8), fmt="%d")


def write_sentiment(folder):
    for part, n in (("train", N_TRAIN), ("test", N_TEST)):
        lines = [f"é is film number {k} . " for k in range(n)]
        path = folder / f"Sentiment_text_{part}.txt"
        path.write_bytes("\n".join(lines).encode())
        np.savetxt(folder / f"Sentiment_Z_{part}.txt", classes(n, 2), fmt="%d")
    np.savetxt(folder / "answers.txt", crowd_answers(2), fmt="%d")


def write_music_genre(folder):
    genres = DATA_SETS["music_genre"].target_names
    names = [f"feature{j}" for j in range(124)]
    for file, n in (("gold", N_TRAIN), ("test", N_TEST)):
        with (folder / f"music_genre_{file}.csv").open("w", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(["id", *names, "class"])
            for row, code in enumerate(classes(n, 10)):
                table.writerow([f"{file}.{row}.mp3", *[row / 4] * 124, genres[code]])
    with (folder / "mturk_answers.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(
            ["WorkerID", "Input.song", "Input.true_label", "Answer.pred_label"]
        )
        answers = crowd_answers(10)
        for row, worker in zip(*np.nonzero(answers >= 0), strict=True):
            answer = genres[answers[row, worker]]
            table.writerow([f"A{worker}", f"gold.{row}.mp3", "?", answer])


WRITERS = {
    **{name: partial(write_pll, name) for name in PLL},
    "cifar10": partial(write_cifar, "cifar10"),
    "cifar100": partial(write_cifar, "cifar100"),
    "cifar10n": write_cifar10n,
    "cifar100n": write_cifar100n,
    "cifar10h": write_cifar10h,
    "plcifar10": write_plcifar10,
    "fashion_mnist": write_idx,
    "mnist": write_idx,
    "labelme": write_labelme,
    "sentiment": write_sentiment,
    "music_genre": write_music_genre,
}


def checksum(path, kind):
    content = path.read_bytes()
    if kind == "git":
        content = b"blob %d\0" % len(content) + content
        return f"git:{hashlib.sha1(content).hexdigest()}"
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) // 2] if self.server.cut else content)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder with a subfolder for each set, in its public layout."""
    folder = tmp_path_factory.mktemp("public")
    for name, write in WRITERS.items():
        (folder / name).mkdir()
        write(folder / name)
    return folder


@pytest.fixture
def server(root, monkeypatch):
    """File server of `root`, which the registry points to."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=root)) as it:
        it.asked, it.cut = [], False
        it.url = f"http://127.0.0.1:{it.server_port}"
        threading.Thread(target=it.serve_forever, args=(0.01,), daemon=True).start()
        for name, facts in DATA_SETS.items():
            monkeypatch.setitem(DATA_SETS, name, served(facts, root / name, it.url))
        monkeypatch.setattr(_download, "_N_RETRIES", 0)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield it
        it.shutdown()


def served(facts, folder, url):
    """Facts of the tiny set in that folder."""
    files = tuple(
        replace(
            file,
            urls=(f"{url}/{folder.name}/{quote(file.name)}",),
            hash=checksum(folder / file.name, file.hash.partition(":")[0]),
        )
        for file in facts.files
    )
    rows = {part: N_ROWS[part] for part in facts.rows}
    n_features = N_FEATURES if facts.function == "fetch_pll" else facts.n_features
    return replace(facts, files=files, rows=rows, n_features=n_features)


def fetch(name, *args, **kwargs):
    return FETCHERS[name][0](*args, **kwargs)


def spoil(monkeypatch, name, **changes):
    """Change what the registry says of the first file of a set."""
    facts = DATA_SETS[name]
    files = (replace(facts.files[0], **changes), *facts.files[1:])
    monkeypatch.setitem(DATA_SETS, name, replace(facts, files=files))


def all_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


class TestEveryFetcher:
    @every_set
    def test_downloads_what_is_missing(self, server, tmp_path, name):
        data = fetch(name, tmp_path)
        rows = N_TEST if name == "cifar10h" else N_TRAIN
        assert len(data.data) == len(data.target) == rows
        assert sorted(data.filenames) == sorted({*map(str, all_files(tmp_path))})
        expected = DATA_SETS[name]
        wanted = {f"/{name}/{quote(file.name)}" for file in expected.files}
        if name in ("mnist", "fashion_mnist"):
            wanted = {path for path in wanted if "t10k" not in path}
        assert wanted <= set(server.asked)
        assert expected.licence in data.DESCR and expected.citation in data.DESCR
        assert expected.home_page in data.DESCR

    @every_set
    def test_second_call_downloads_nothing(self, server, tmp_path, name):
        first = fetch(name, tmp_path)
        server.asked.clear()
        second = fetch(name, tmp_path)
        assert server.asked == []
        np.testing.assert_array_equal(first.data, second.data)

    @every_set
    def test_return_X_y_gives_what_fit_takes(self, server, tmp_path, name):
        data = fetch(name, tmp_path)
        X, y = fetch(name, tmp_path, return_X_y=True)
        np.testing.assert_array_equal(X, data.data)
        np.testing.assert_array_equal(y, data[FETCHERS[name][1]])
        encode_candidates(y)

    @every_set
    def test_frames_hold_the_same_with_names(self, server, tmp_path, name):
        data, frames = fetch(name, tmp_path), fetch(name, tmp_path, as_frame=True)
        key = FETCHERS[name][1]
        assert data.frame is None
        for part in [p for p in data if p == "data" or p.startswith("data_")]:
            np.testing.assert_array_equal(frames[part].to_numpy(), data[part])
        named = np.array(data.target_names)
        for part in [p for p in data if p in ("target", "target_test", "noisy")]:
            assert isinstance(frames[part], pd.Series)
            np.testing.assert_array_equal(frames[part], named[data[part]])
        if key == "candidates":
            assert frames.candidates.columns.tolist() == data.target_names
            np.testing.assert_array_equal(frames.candidates.to_numpy(), data.candidates)
        if data.data.ndim == 2:
            assert frames.data.columns.tolist() == data.feature_names
        width = data.data[0].size if data.data.ndim == 2 else 1
        width += {"candidates": len(named), "noisy": 1, "target": 0}[key] + 1
        assert frames.frame.shape == (len(data.data), width)

    @every_set
    def test_classes_of_frames_are_those_of_the_true_labels(
        self, server, tmp_path, name
    ):
        data = fetch(name, tmp_path, as_frame=True)
        _, learnt = encode_candidates(data[FETCHERS[name][1]])
        assert set(data.target) <= set(data.target_names)
        assert set(learnt) <= set(data.target_names)

    @every_set
    def test_without_leave_to_download_the_error_says_what_to_do(
        self, server, tmp_path, name
    ):
        with pytest.raises(OSError, match="By hand: ") as info:
            fetch(name, tmp_path, download_if_missing=False)
        facts = DATA_SETS[name]
        assert server.asked == [] and all_files(tmp_path) == []
        assert facts.files[0].name in str(info.value)
        assert facts.files[0].urls[0] in str(info.value)
        assert str(tmp_path / facts.folders[0]) in str(info.value)
        assert "SKLABELDIFF_DATA" in str(info.value)

    @every_set
    def test_environment_variable_is_the_default_home(
        self, server, tmp_path, name, monkeypatch
    ):
        monkeypatch.setenv("SKLABELDIFF_DATA", str(tmp_path))
        assert fetch(name).filenames[0].startswith(str(tmp_path))


class TestDownload:
    """What goes wrong on the way, by the example of one set of each kind of hash."""

    @pytest.mark.parametrize("name", ["lost", "mirflickr"])
    def test_file_with_another_checksum_is_removed(
        self, server, tmp_path, name, monkeypatch
    ):
        file = DATA_SETS[name].files[0]
        wrong = file.hash.partition(":")[0] + ":" + "0" * len(file.hash.split(":")[1])
        spoil(monkeypatch, name, hash=wrong)
        with pytest.raises(OSError, match=r"Could not download .*\.mat") as info:
            fetch(name, tmp_path)
        assert all_files(tmp_path) == []
        assert file.name in str(info.value)
        assert wrong.split(":")[1] in str(info.value)
        assert file.hash.split(":")[1] in str(info.value)
        assert "get it by hand: The home page https://palm" in str(info.value)

    def test_half_a_file_is_not_left_behind(self, server, tmp_path):
        server.cut = True
        with pytest.raises(OSError, match=r"Could not download lost\.mat"):
            fetch("lost", tmp_path)
        assert all_files(tmp_path) == []
        server.cut = False
        assert len(fetch("lost", tmp_path).data) == N_TRAIN

    def test_interrupted_user_leaves_no_half_file(self, server, tmp_path, monkeypatch):
        def interrupt(*args, **kwargs):
            yield b"the first bytes"
            assert len(all_files(tmp_path)) == 1
            raise KeyboardInterrupt

        monkeypatch.setattr("requests.models.Response.iter_content", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch("lost", tmp_path)
        assert all_files(tmp_path) == []

    def test_dead_server_names_the_remedy(self, server, tmp_path, monkeypatch):
        server.shutdown()
        server.server_close()
        with pytest.raises(OSError, match="Try again later, or get it by hand") as info:
            fetch("lost", tmp_path)
        assert server.url in str(info.value)
        assert str(tmp_path / "pll") in str(info.value)

    def test_absent_file_is_told_with_the_status(self, server, tmp_path, monkeypatch):
        spoil(monkeypatch, "lost", urls=(f"{server.url}/nowhere.mat",))
        with pytest.raises(OSError, match="404"):
            fetch("lost", tmp_path)

    def test_second_address_serves_where_the_first_fails(
        self, server, tmp_path, monkeypatch
    ):
        (good,) = DATA_SETS["lost"].files[0].urls
        spoil(monkeypatch, "lost", urls=(f"{server.url}/nowhere.mat", good))
        assert len(fetch("lost", tmp_path).data) == N_TRAIN
        assert server.asked == ["/nowhere.mat", "/lost/lost.mat"]

    def test_failed_attempt_is_repeated(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(_download, "_N_RETRIES", 1)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        spoil(monkeypatch, "lost", urls=(f"{server.url}/nowhere.mat",))
        with pytest.raises(OSError, match="404"):
            fetch("lost", tmp_path)
        assert server.asked == ["/nowhere.mat"] * 2

    def test_missing_pooch_names_the_extra(self, server, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pooch", None)
        with pytest.raises(ImportError, match=r"pip install \"sklabeldiff\[datasets\]"):
            fetch("lost", tmp_path)

    def test_files_that_are_there_need_no_pooch(self, server, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pooch", None)
        (tmp_path / "music_genre").mkdir()
        write_music_genre(tmp_path / "music_genre")
        assert len(fetch("music_genre", tmp_path).data) == N_TRAIN

    def test_file_that_is_there_is_never_replaced(self, server, tmp_path, monkeypatch):
        folder = tmp_path / "crowd" / "music_genre"
        folder.mkdir(parents=True)
        write_music_genre(folder)
        spoil(monkeypatch, "music_genre", hash="sha256:" + "0" * 64)
        assert len(fetch("music_genre", tmp_path).data) == N_TRAIN
        assert server.asked == []

    def test_missing_pandas_names_the_extra(self, server, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(ImportError, match=r"pip install \"sklabeldiff\[pandas\]"):
            fetch("lost", tmp_path, as_frame=True)

    def test_nothing_is_printed_unless_asked_for(self, server, tmp_path, capfd):
        fetch("lost", tmp_path)
        assert capfd.readouterr() == ("", "")
        fetch("msrcv2", tmp_path, verbose=True)
        assert "100%" in capfd.readouterr().err

    def test_download_is_logged(self, server, tmp_path, caplog):
        with caplog.at_level(logging.INFO, logger="sklabeldiff.datasets"):
            fetch("lost", tmp_path)
        assert caplog.messages == [
            f"downloading {server.url}/lost/lost.mat to {tmp_path / 'pll'}"
        ]


class TestCifar:
    @pytest.mark.parametrize("name", ["cifar10", "cifar100"])
    def test_pixels_and_classes_are_in_their_places(self, server, tmp_path, name):
        data = fetch(name, tmp_path, subset="all")
        planes = np.concatenate([pixels(n, (3, 32, 32)) for n in (N_TRAIN, N_TEST)])
        np.testing.assert_array_equal(data.images, planes.transpose(0, 2, 3, 1))
        assert data.images.dtype == data.data.dtype == np.uint8
        column = data.feature_names.index("pixel_3_17_g")
        np.testing.assert_array_equal(data.data[:, column], planes[:, 1, 3, 17])
        n_classes = len(data.target_names)
        expected = [classes(n, n_classes) for n in (N_TRAIN, N_TEST)]
        np.testing.assert_array_equal(data.target, np.concatenate(expected))

    @pytest.mark.parametrize("name", ["cifar10", "cifar100"])
    def test_unpacked_folder_is_read_too(self, server, tmp_path, name):
        for file, content in cifar_batches(name).items():
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_bytes(content)
        data = fetch(name, tmp_path)
        assert server.asked == []
        np.testing.assert_array_equal(
            data.target, classes(N_TRAIN, data.target.max() + 1)
        )

    def test_test_part_is_the_end_of_all(self, server, tmp_path):
        every, test = (fetch("cifar10", tmp_path, subset=s) for s in ("all", "test"))
        np.testing.assert_array_equal(every.data[N_TRAIN:], test.data)

    def test_unknown_subset_is_named(self, server, tmp_path):
        with pytest.raises(ValueError, match="subset='valid' is not one of 'train'"):
            fetch("cifar10", tmp_path, subset="valid")

    def test_code_in_a_batch_is_never_run(self, server, tmp_path):
        folder = tmp_path / "cifar-10-batches-py"
        folder.mkdir()
        (folder / "test_batch").write_bytes(pickle.dumps(Touch(tmp_path / "ran")))
        with pytest.raises(ValueError, match=r"test_batch is damaged, or holds more"):
            fetch("cifar10", tmp_path, subset="test")
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("content", [b"", b"\x1f\x8b not a tar", b"PK"])
    def test_damaged_archive_is_named(self, server, tmp_path, content):
        (tmp_path / "cifar-10-python.tar.gz").write_bytes(content)
        with pytest.raises(ValueError, match=r"python\.tar\.gz is damaged"):
            fetch("cifar10", tmp_path)

    def test_archive_without_a_batch_is_named(self, server, tmp_path):
        with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz"):
            pass
        with pytest.raises(ValueError, match="lacks test_batch"):
            fetch("cifar10", tmp_path, subset="test")

    def test_other_number_of_images_is_refused(self, server, tmp_path, monkeypatch):
        facts = replace(DATA_SETS["cifar10"], rows={"train": 11, "test": 6})
        monkeypatch.setitem(DATA_SETS, "cifar10", facts)
        with pytest.raises(
            ValueError, match=r"shape \(10, 3072\), but .* have \(11, 3072\)"
        ):
            fetch("cifar10", tmp_path)


class Touch:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


class TestLabelsOfCifar:
    def test_plcifar10_aggregate_is_the_union(self, server, tmp_path):
        data = fetch("plcifar10", tmp_path)
        assert np.flatnonzero(data.candidates[0]).tolist() == [0, 2, 3, 4, 5, 6, 7]
        assert np.flatnonzero(data.candidates[3]).tolist() == [1, 9]
        assert data.answers.shape == (N_TRAIN, 3, 10)
        assert np.flatnonzero(data.answers[0, 1]).tolist() == [0, 3, 7]
        assert not data.answers[1, 2].any()

    def test_plcifar10_vaguest_is_the_first_of_the_largest(self, server, tmp_path):
        data = fetch("plcifar10", tmp_path, variant="vaguest")
        assert np.flatnonzero(data.candidates[0]).tolist() == [0, 3, 7]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({3: None}, r"no answers for image 3 \(and 1 such images of 10"),
            ({3: [[], []]}, r"image 3 has no candidate \(and 1 such"),
            ({3: [[4, 10]]}, "image 3 has the label 10. The classes are 0 to 9"),
        ],
    )
    def test_broken_plcifar10_is_refused(
        self, server, root, tmp_path, changes, message
    ):
        sets = pickle.loads((root / "plcifar10" / "plcifar10.pkl").read_bytes())
        sets = {k: v for k, v in {**sets, **changes}.items() if v is not None}
        (tmp_path / "plcifar10.pkl").write_bytes(pickle.dumps(sets))
        with pytest.raises(ValueError, match=message):
            fetch("plcifar10", tmp_path)

    def test_numpy_numbers_and_sets_in_plcifar10_are_understood(self, server, tmp_path):
        sets = {row: [{np.int64(row % 10)}] for row in range(N_TRAIN)}
        for protocol in range(2, 6):
            content = pickle.dumps(sets, protocol=protocol)
            (tmp_path / "plcifar10.pkl").write_bytes(content)
            data = fetch("plcifar10", tmp_path)
            np.testing.assert_array_equal(data.candidates, np.eye(10)[:N_TRAIN])

    def test_unknown_variant_is_named(self, tmp_path):
        with pytest.raises(ValueError, match="variant='best' is not one of"):
            fetch("plcifar10", tmp_path, variant="best")

    def test_cifar10h_candidates_are_what_anyone_said(self, server, tmp_path):
        data = fetch("cifar10h", tmp_path)
        assert data.counts[1].tolist() == [0, 0, 0, 50, 0, 0, 0, 0, 0, 2]
        np.testing.assert_array_equal(data.candidates, data.counts > 0)
        np.testing.assert_array_equal(data.images[0, 0, 0], [0, 20, 40])  # 1024 apart

    def test_cifar10h_in_another_order_is_refused(self, server, tmp_path):
        write_cifar10h(tmp_path)
        counts = np.load(tmp_path / "cifar10h-counts.npy")
        np.save(tmp_path / "cifar10h-counts.npy", counts[::-1])
        with pytest.raises(ValueError, match="original order of CIFAR-10's test"):
            fetch("cifar10h", tmp_path)

    @pytest.mark.parametrize(
        ("counts", "message"),
        [
            (np.ones((3, 10)), r"shape \(3, 10\).*Expected counts of shape \(6, 10\)"),
            (-np.ones((N_TEST, 10)), "smallest value -1"),
            (np.zeros((N_TEST, 10)), "row 0 has no answer"),
        ],
    )
    def test_broken_cifar10h_is_refused(self, server, tmp_path, counts, message):
        np.save(tmp_path / "cifar10h-counts.npy", counts)
        with pytest.raises(ValueError, match=message):
            fetch("cifar10h", tmp_path)

    @pytest.mark.parametrize("name", ["cifar10n", "cifar100n"])
    def test_labels_come_without_images(self, server, tmp_path, name):
        data = fetch(name, tmp_path, images=False)
        assert data.data is None and "images" not in data
        assert len(server.asked) == 1
        np.testing.assert_array_equal(data.target, fetch(name, tmp_path).target)

    @pytest.mark.parametrize("argument", ["return_X_y", "as_frame"])
    def test_labels_alone_are_no_pair_and_no_frame(self, server, tmp_path, argument):
        with pytest.raises(ValueError, match="Ask for images=True"):
            fetch("cifar10n", tmp_path, images=False, **{argument: True})

    def test_cifar100n_has_the_noisy_label(self, server, tmp_path):
        data = fetch("cifar100n", tmp_path)
        np.testing.assert_array_equal(data.noisy, classes(N_TRAIN, 100, 1))
        assert "Wrong labels: 100.00%" in data.DESCR
        assert data.target_names[1] == "aquarium_fish"

    def test_images_in_another_order_are_refused(self, server, tmp_path):
        labels = {"clean_label": classes(N_TRAIN, 100, 2)}
        labels["noisy_label"] = labels["clean_label"]
        torch.save(labels, tmp_path / "CIFAR-100_human.pt")
        with pytest.raises(ValueError, match=r"row 0 is 0, but .* is 2 in .*\(and 10"):
            fetch("cifar100n", tmp_path)


class TestIdx:
    @pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
    def test_images_and_classes_are_read(self, server, tmp_path, name):
        data = fetch(name, tmp_path, subset="all")
        assert data.data.shape == (N_TRAIN + N_TEST, 784)
        np.testing.assert_array_equal(data.images[:N_TRAIN], pixels(N_TRAIN, (28, 28)))
        column = data.feature_names.index("pixel_2_5")
        np.testing.assert_array_equal(data.data[:, column], data.images[:, 2, 5])
        np.testing.assert_array_equal(data.target[N_TRAIN:], classes(N_TEST, 10))

    @pytest.mark.parametrize(
        ("name", "folder"),
        [("mnist", "MNIST/raw"), ("fashion_mnist", "FashionMNIST/raw")],
    )
    def test_unpacked_files_are_read_too(self, server, root, tmp_path, name, folder):
        (tmp_path / folder).mkdir(parents=True)
        for path in (root / name).iterdir():
            content = gzip.decompress(path.read_bytes())
            (tmp_path / folder / path.stem).write_bytes(content)
        assert len(fetch(name, tmp_path, subset="all").data) == N_TRAIN + N_TEST
        assert server.asked == []

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"plain",
            gzip.compress(b"short"),
            gzip.compress(idx_bytes(np.zeros(3, np.uint8))),
            gzip.compress(b"\0\0\x09\x03" + idx_bytes(pixels(10, (28, 28)))[4:]),
            gzip.compress(idx_bytes(np.zeros((2, 28, 28), np.uint8)))[:-20],
            gzip.compress(idx_bytes(np.zeros((2, 28, 28), np.uint8))[:-1]),
        ],
        ids=range(7),  # gzip writes the time, and names must be equal in all workers
    )
    def test_damaged_file_is_named(self, server, tmp_path, content):
        folder = tmp_path / "mnist"
        folder.mkdir()
        (folder / "train-images-idx3-ubyte.gz").write_bytes(content)
        with pytest.raises(
            ValueError, match=r"images-idx3-ubyte\.gz is damaged or not"
        ):
            fetch("mnist", tmp_path)


class TestCrowds:
    @pytest.mark.parametrize("name", ["labelme", "sentiment", "music_genre"])
    def test_answers_and_their_union(self, server, tmp_path, name):
        data = fetch(name, tmp_path)
        n_classes = len(data.target_names)
        np.testing.assert_array_equal(data.answers, crowd_answers(n_classes))
        union = (data.answers[..., None] == np.arange(n_classes)).any(axis=1)
        np.testing.assert_array_equal(data.candidates, union)
        np.testing.assert_array_equal(data.target, classes(N_TRAIN, n_classes))
        np.testing.assert_array_equal(data.target_test, classes(N_TEST, n_classes))

    def test_text_is_of_str_without_blanks_around(self, server, tmp_path):
        data = fetch("sentiment", tmp_path)
        assert data.data[2] == "é is film number 2 ."
        assert data.data.dtype == object and data.data.shape == (N_TRAIN,)
        assert data.data_test.shape == (N_TEST,)

    def test_songs_keep_their_features(self, server, tmp_path):
        data = fetch("music_genre", tmp_path)
        np.testing.assert_array_equal(data.data[:, 7], np.arange(N_TRAIN) / 4)
        assert data.data.dtype == np.float32 and data.data_test.shape == (N_TEST, 124)

    def test_validation_part_of_labelme(self, server, tmp_path):
        data = fetch("labelme", tmp_path)
        assert data.data_valid.shape == (N_VALID, 512)
        np.testing.assert_array_equal(data.target_valid, classes(N_VALID, 8))

    @pytest.mark.parametrize(
        ("name", "file", "content", "message"),
        [
            ("sentiment", "answers.txt", "1 0\n", r"shape \(1, 2\).* has 10 rows"),
            ("sentiment", "answers.txt", "1 x\n", r"answers\.txt is damaged"),
            ("labelme", "answers.txt", "8 -1\n" * 10, "row 0 has the answer 8"),
            ("labelme", "answers.txt", "-1 -1\n" * 10, "row 0 has no answer"),
            ("sentiment", "Sentiment_text_test.txt", "a\nb\n", "read 2 sentences"),
            ("labelme", "LabelMe_Z_test.txt", "1\n" * 5, r"target_test has shape \(5,"),
            ("music_genre", "mturk_answers.csv", "a,b\n", "lacks WorkerID, Input.song"),
            (
                "music_genre",
                "mturk_answers.csv",
                "WorkerID,Input.song,Answer.pred_label\nA,unknown.mp3,pop\n",
                "answer to the song 'unknown.mp3', which is not in",
            ),
            (
                "music_genre",
                "mturk_answers.csv",
                "WorkerID,Input.song,Answer.pred_label\nA,gold.0.mp3,polka\n",
                "'polka' is no genre. The genres are blues, classical",
            ),
        ],
    )
    def test_broken_file_is_refused(
        self, server, tmp_path, name, file, content, message
    ):
        folder = tmp_path / "crowd" / name
        folder.mkdir(parents=True)
        (folder / file).write_text(content)
        with pytest.raises(ValueError, match=message):
            fetch(name, tmp_path)

    @pytest.mark.parametrize(
        ("name", "file"),
        [
            ("labelme", "crowd/labelme/LabelMe_VGG_avg_train.npy"),
            ("labelme", "crowd/labelme/answers.txt"),
            ("sentiment", "crowd/sentiment_mturk.npz"),
            ("sentiment", "crowd/sentiment/Sentiment_text_train.txt"),
            ("music_genre", "crowd/music_genre/music_genre_gold.csv"),
            ("cifar10h", "images/cifar10h-counts.npy"),
            ("cifar10n", "images/cifar10n_labels.npz"),
        ],
    )
    @pytest.mark.parametrize("content", [b"id,a,class\n1,\xe9,pop", b"PK\x03\x04\xff"])
    def test_damaged_file_is_named(self, server, tmp_path, name, file, content):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_bytes(content)
        with pytest.raises(ValueError, match=Path(file).name):
            fetch(name, tmp_path)

    def test_unpacked_archive_of_the_authors_is_read(self, server, root, tmp_path):
        (root / "music_genre").rename(root / "music_genre_classification")
        data = fetch("music_genre", root, download_if_missing=False)
        (root / "music_genre_classification").rename(root / "music_genre")
        assert len(data.data) == N_TRAIN


class TestPll:
    def test_unknown_name_is_refused_with_the_known_ones(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"name='glass' is not one of lost, msrcv2"
        ):
            datasets.fetch_pll("glass", tmp_path)

    @pytest.mark.parametrize("name", ["Yahoo! News", "yahoo-news", "YAHOO_NEWS"])
    def test_spelling_does_not_matter(self, server, tmp_path, name):
        assert len(datasets.fetch_pll(name, tmp_path).data) == N_TRAIN
        assert (tmp_path / "pll" / "Yahoo! News.mat").is_file()

    def test_file_of_another_set_is_refused(self, server, tmp_path):
        write_pll("msrcv2", tmp_path)
        (tmp_path / "MSRCv2.mat").rename(tmp_path / "lost.mat")
        with pytest.raises(ValueError, match="read 23 classes, but Lost has 16"):
            datasets.fetch_pll("lost", tmp_path)

    def test_other_number_of_rows_is_refused(self, server, tmp_path, monkeypatch):
        facts = replace(DATA_SETS["lost"], rows={"train": 11})
        monkeypatch.setitem(DATA_SETS, "lost", facts)
        with pytest.raises(ValueError, match=r"shape \(10, 5\), but .* have \(11, 5\)"):
            datasets.fetch_pll("lost", tmp_path)


@pytest.mark.parametrize("name", DATA_SETS)
def test_downloads_are_over_https_and_checked(name):
    for file in DATA_SETS[name].files:
        assert all(url.startswith("https://") for url in file.urls)
        kind, _, digest = file.hash.partition(":")
        assert len(digest) == {"sha256": 64, "git": 40}[kind]
