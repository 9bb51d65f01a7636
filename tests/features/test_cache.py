"""The cache of features: each image is encoded once, whatever happens."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from torch import nn

from sklabeldiff import DDMPClassifier
from sklabeldiff.features import CLIPFeatures, TorchFeatures
from sklabeldiff.features._images import ListImages
from sklabeldiff.features._store import SHARD_ROWS

from .counting import CountingNetwork, counts, make_images

SCRIPT = Path(__file__).with_name("counting.py")


def run(mode, cache, images, output="", seconds=0.0):
    words = [sys.executable, SCRIPT, mode, cache, images, output]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment |= {"COUNTING_SECONDS": str(seconds)}
    return subprocess.Popen(
        list(map(str, words)), env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture(autouse=True)
def log(tmp_path, monkeypatch):
    """File where the counting network notes what it saw, in all processes."""
    monkeypatch.setenv("COUNTING_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


@pytest.fixture
def images():
    return make_images(30)


@pytest.fixture
def encoder(tmp_path, log):
    return TorchFeatures(
        CountingNetwork(), device="cpu", batch_size=4, cache_dir=tmp_path / "cache"
    )


def white(image):
    return torch.ones(3, image.height, image.width)


def shards(folder):
    return sorted(Path(folder).rglob("*.safetensors"))


def test_second_pass_computes_nothing_and_gives_the_same(encoder, images, log):
    expected = clone(encoder).set_params(cache_dir=None).transform(images)
    log.unlink()
    first = encoder.transform(images)
    second = clone(encoder).transform(images)
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(second, expected)
    assert counts(log) == dict.fromkeys(range(30), 1)


def test_order_and_copies_do_not_matter(encoder, images, log):
    rows = [3, 3, 9, 1, 3]
    expected = clone(encoder).set_params(cache_dir=None).transform(images)
    log.unlink()
    np.testing.assert_array_equal(encoder.transform(images[rows]), expected[rows])
    np.testing.assert_array_equal(encoder.transform(images), expected)
    assert counts(log) == dict.fromkeys(range(30), 1)


def test_array_and_pil_images_share_their_features(encoder, images, log):
    encoder.transform(images)
    encoder.transform([Image.fromarray(image) for image in images])
    encoder.transform(images / 255)
    encoder.transform(iter(images))
    assert set(counts(log).values()) == {1}


def test_files_are_known_by_their_bytes_and_not_decoded_again(
    encoder, images, log, tmp_path, monkeypatch
):
    paths = as_files(images, tmp_path)
    expected = encoder.transform(paths)
    copy = paths[3].rename(tmp_path / "renamed.png")
    monkeypatch.setattr(Image, "open", None)
    again = encoder.transform([copy, paths[7]])
    np.testing.assert_array_equal(again, expected[[3, 7]])
    assert counts(log) == dict.fromkeys(range(30), 1)


def test_half_precision_gives_the_same_on_the_first_pass(encoder, images):
    full = encoder.transform(images)
    encoder.set_params(cache_dtype="float16")
    first, second = encoder.transform(images), encoder.transform(images)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, full.astype(np.float16))
    assert not np.array_equal(first, full)


def test_network_is_not_loaded_for_what_is_known(encoder, images, monkeypatch):
    expected = encoder.transform(images)
    again = clone(encoder)
    monkeypatch.setattr(TorchFeatures, "_load", None)
    np.testing.assert_array_equal(again.fit(images).transform(images), expected)
    assert again.get_feature_names_out()[-1] == "torchfeatures4"


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "bfloat16"},
        {"module": nn.Sequential(nn.Flatten(), nn.Linear(192, 5))},
        {"preprocess": white},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_features_are_kept_apart(encoder, images, change):
    before = encoder.transform(images)
    other = clone(encoder).set_params(**change)
    expected = clone(other).set_params(cache_dir=None).transform(images)
    np.testing.assert_array_equal(other.transform(images), expected)
    assert not np.array_equal(before, expected)


def test_weights_decide_and_not_the_name_of_the_network(encoder, images):
    encoder.transform(images)
    other = clone(encoder)
    with torch.no_grad():
        other.module.weight += 1
    expected = clone(other).set_params(cache_dir=None).transform(images)
    np.testing.assert_array_equal(other.transform(images), expected)


def test_interrupted_work_is_kept(encoder, images, log, monkeypatch):
    monkeypatch.setenv("COUNTING_LIMIT", "10")
    with pytest.raises(KeyboardInterrupt):
        encoder.transform(images)
    monkeypatch.delenv("COUNTING_LIMIT")
    clone(encoder).transform(images)
    assert sum(counts(log).values()) == 30 + 4  # the block that was interrupted


def test_truncated_shard_is_computed_again(encoder, images, log):
    expected = encoder.transform(images)
    shard = shards(encoder.cache_dir)[0]
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="was damaged"):
        again = encoder.transform(images)
    np.testing.assert_array_equal(again, expected)
    assert set(counts(log).values()) == {2}


def test_bad_rows_are_nan_and_tried_again(encoder, images, tmp_path, log):
    paths = as_files(images[:4], tmp_path)
    whole = paths[1].read_bytes()
    for path in (paths[1], paths[2]):  # two copies of one broken file
        path.write_bytes(whole[:60])
    encoder.set_params(on_error="nan")
    with pytest.warns(UserWarning, match=r"2 rows.*row 1: .*row 2 has the content"):
        features = encoder.transform(paths)
    np.testing.assert_array_equal(np.isnan(features[:, 0]), [False, True, True, False])
    paths[1].write_bytes(whole)
    with pytest.warns(UserWarning, match="1 rows"):
        features = encoder.transform(paths)
    np.testing.assert_array_equal(features[1], encoder.transform(images[1:2])[0])


def test_changed_weights_are_noticed(encoder, images):
    encoder.transform(images[:2])
    with torch.no_grad():
        encoder.module.weight.mul_(10)
    uncached = clone(encoder).set_params(cache_dir=None)
    expected = uncached.transform(images)
    np.testing.assert_array_equal(encoder.transform(images), expected)
    with torch.no_grad():
        uncached.module.weight.mul_(10)
    assert not np.array_equal(uncached.transform(images), expected)


class Scaled(nn.Module):
    """Mean colours times an attribute and a buffer that no state_dict holds."""

    def __init__(self, factor, buffer):
        super().__init__()
        self.factor = factor
        self.register_buffer("hidden", torch.tensor(buffer), persistent=False)

    def forward(self, images):
        return images.mean((2, 3)) * self.factor * self.hidden


def test_attributes_and_hidden_buffers_tell_networks_apart(encoder, images):
    for module in (Scaled(1.0, 1.0), Scaled(5.0, 1.0), Scaled(1.0, 7.0)):
        encoder.set_params(module=module)
        expected = clone(encoder).set_params(cache_dir=None).transform(images)
        np.testing.assert_array_equal(encoder.transform(images), expected)


class Centred:
    """A preprocess that holds a tensor, as those of torchvision do."""

    def __init__(self):
        self.mean = torch.tensor([0.5, 0.4, 0.3])

    def __call__(self, image):
        pixels = torch.from_numpy(np.asarray(image) / np.float32(255))
        return pixels.permute(2, 0, 1) - self.mean[:, None, None]


@pytest.mark.parametrize(
    "preprocess", [Centred(), white, lambda image: white(image)], ids=range(3)
)
def test_copies_of_an_encoder_share_the_cache(encoder, images, preprocess):
    encoder.set_params(module=nn.AdaptiveAvgPool2d(1), preprocess=preprocess)
    for _ in range(3):
        clone(encoder).transform(images)
    assert len(list(Path(encoder.cache_dir).iterdir())) == 1


def test_lambdas_are_told_apart_by_their_code(encoder, images):
    encoder.set_params(module=nn.AdaptiveAvgPool2d(1))
    dark, light = (
        encoder.set_params(preprocess=preprocess).transform(images)
        for preprocess in (
            lambda image: torch.zeros(3, 2, 2),
            lambda image: torch.ones(3, 2, 2),
        )
    )
    assert dark.max() == 0
    assert light.min() == 1


def test_images_of_another_size_are_refused_where_features_grow(encoder, images):
    encoder.set_params(module=nn.Flatten())
    encoder.transform(images)
    with pytest.raises(ValueError, match=r"gives 768 features.* holds 192.*one size"):
        encoder.transform(np.zeros((2, 16, 16, 3), np.uint8))


def test_shards_that_vanish_are_no_bad_rows(encoder, images, monkeypatch):
    encoder.transform(images[:10])
    (shard,) = shards(encoder.cache_dir)
    forward = CountingNetwork.forward

    def forward_and_remove(self, images):
        shard.unlink(missing_ok=True)
        return forward(self, images)

    monkeypatch.setattr(CountingNetwork, "forward", forward_and_remove)
    assert np.isfinite(encoder.transform(images)).all()


def test_shard_damaged_inside_is_computed_again(encoder, images, log):
    expected = encoder.transform(images)
    (shard,) = shards(encoder.cache_dir)
    content = bytearray(shard.read_bytes())
    header = int.from_bytes(content[:8], "little")
    content[8 + header] ^= 1
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.warns(UserWarning, match="was damaged"):
        again = encoder.transform(images)
    np.testing.assert_array_equal(again, expected)
    assert set(counts(log).values()) == {2}


def test_two_writers_do_not_wait_for_each_others_bad_rows(
    encoder, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(ListImages, "check", lambda self, rows: None)
    monkeypatch.setattr(TorchFeatures, "_claim_rows", 1)
    paths = as_files(images, tmp_path)
    for path in (paths[0], paths[29]):
        path.write_bytes(path.read_bytes()[:-30])
    encoder.set_params(on_error="nan", batch_size=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = joblib.Parallel(n_jobs=2, backend="threading", timeout=60)
        orders = (paths, paths[::-1])
        one, two = run(joblib.delayed(clone(encoder).transform)(x) for x in orders)
    np.testing.assert_array_equal(one, two[::-1])
    assert np.isnan(one[[0, 29]]).all()


def test_folder_that_cannot_be_used_is_named(encoder, images, tmp_path):
    (tmp_path / "file").write_text("")
    encoder.set_params(cache_dir=tmp_path / "file")
    with pytest.raises(OSError, match=r"cache of .* cannot be used.*cache_dir"):
        encoder.fit(images)


def test_threads_divide_the_work(encoder, images, log):
    run = joblib.Parallel(n_jobs=3, backend="threading")
    tables = run(joblib.delayed(clone(encoder).transform)(images) for _ in range(3))
    for table in tables:
        np.testing.assert_array_equal(table, tables[0])
    assert counts(log) == dict.fromkeys(range(30), 1)


def as_files(images, folder):
    paths = [folder / f"{row}.png" for row in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return paths


SEARCHED = {
    "array": lambda images, folder: images,
    "PIL images": lambda images, folder: [Image.fromarray(image) for image in images],
    "files": as_files,
}


@pytest.mark.parametrize("form", SEARCHED)
def test_search_with_clip_and_ddmp_encodes_each_image_once(
    clip_folder, tmp_path, monkeypatch, form
):
    """The line that this package is asked for; 3 candidates x 3 folds."""
    seen = []
    load = CLIPFeatures._load

    def counted(self):
        encoder = load(self)
        # batch_size=1: no row only fills up a block
        encoder.module.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append(kwargs["pixel_values"].sum()),
            with_kwargs=True,
        )
        return encoder

    monkeypatch.setattr(CLIPFeatures, "_load", counted)
    images = make_images(18, side=16)
    images[::2, :, :, 1] //= 4
    X = SEARCHED[form](images, tmp_path)
    sets = np.where(np.arange(18) % 2, {"a"}, {"b"})
    sets[:4] = {"a", "b"}
    enc = CLIPFeatures(clip_folder, device="cpu", batch_size=1)
    enc.set_params(cache_dir=tmp_path / "cache")
    pipeline = Pipeline([("enc", enc), ("clf", DDMPClassifier(max_epochs=3))])
    search = GridSearchCV(pipeline, {"clf__gamma": [0, 0.1, 0.3]}, cv=3)
    search.fit(X, np.array([frozenset(s) for s in sets]))
    assert len(seen) == 18
    search.predict(X)
    assert len(seen) == 18


# -- other processes -------------------------------------------------------------------


def test_search_in_two_processes_encodes_each_image_once(tmp_path, log):
    np.save(tmp_path / "images.npy", make_images(60))
    with run("search", tmp_path / "cache", tmp_path / "images.npy") as process:
        assert process.wait() == 0
    assert counts(log) == dict.fromkeys(range(60), 1)


def test_killed_run_goes_on_and_ends_alike(tmp_path, log):
    n = 5000
    np.save(tmp_path / "images.npy", make_images(n))
    args = tmp_path / "cache", tmp_path / "images.npy", tmp_path / "features.npy"
    with run("encode", *args, seconds=0.02) as process:
        while process.poll() is None and len(shards(tmp_path / "cache")) < 3:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = sum(counts(log).values())
    assert 3 * SHARD_ROWS <= before < n
    with run("encode", *args) as process:
        assert process.wait() == 0
    times = counts(log)
    assert sorted(times) == list(range(n))
    twice = [number for number, seen in times.items() if seen > 1]
    assert max(times.values()) <= 2
    assert len(twice) <= SHARD_ROWS  # those of the open shard
    uninterrupted = TorchFeatures(CountingNetwork(), device="cpu")
    expected = uninterrupted.transform(np.load(tmp_path / "images.npy"))
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), expected)


@pytest.mark.parametrize("cached", [False, True])
def test_memory_stays_small_over_a_large_memory_map(tmp_path, cached):
    make_images(60_000, side=32, path=tmp_path / "images.npy")
    cache = tmp_path / "cache" if cached else ""
    args = cache, tmp_path / "images.npy", tmp_path / "features.npy"
    with run("encode", *args) as process:
        beyond = int(process.stdout.read())
    assert beyond < 1e8  # 1.5e9 is asked for; the images themselves have 1.8e8
    assert np.load(tmp_path / "features.npy").shape == (60_000, 5)
