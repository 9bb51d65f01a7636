"""Rows shared between workers, and features that stay on disk."""

import os
import pickle
import signal
from contextlib import suppress

import joblib
import numpy as np
import pytest
import torch
from joblib.externals.loky.process_executor import TerminatedWorkerError

from sklabeldiff.features import TorchFeatures
from sklabeldiff.features import _feature_file as feature_file
from sklabeldiff.features._images import ArrayImages

N, BATCH = 70, 16
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def network():
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.utils.skip_init(torch.nn.Linear, 192, 4)
    for parameter in linear.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return torch.nn.Sequential(torch.nn.Flatten(), linear)


@pytest.fixture
def alone(network):
    return TorchFeatures(network, batch_size=BATCH).transform(PIXELS)


@pytest.fixture
def on_disk(tmp_path):
    np.save(tmp_path / "pixels.npy", PIXELS)
    return np.load(tmp_path / "pixels.npy", mmap_mode="r")


@pytest.mark.parametrize("form", ["array", "list", "map", "part of a map"])
def test_two_workers_give_the_bits_of_one(form, network, alone, on_disk):
    encoder = TorchFeatures(network, batch_size=BATCH, n_jobs=2)
    part = slice(3, 60) if form == "part of a map" else slice(None)
    X = {"array": PIXELS, "list": list(PIXELS)}.get(form, on_disk[part])
    np.testing.assert_array_equal(encoder.transform(X), alone[part])
    assert encoder._loaded is None  # the network was loaded by others


def test_workers_fill_the_cache(network, alone, tmp_path):
    encoder = TorchFeatures(network, batch_size=BATCH, n_jobs=2, cache_dir=tmp_path)
    np.testing.assert_array_equal(encoder.transform(PIXELS), alone)
    assert len([*tmp_path.rglob("*.safetensors")]) == 2
    assert encoder._loaded is None


def mortal(network, file):
    """Return a network that ends the first process that asks it."""

    class Mortal(torch.nn.Sequential):  # here, so that workers need not import it
        def forward(self, images):
            with suppress(FileExistsError):
                file.touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
            return super().forward(images)

    return Mortal(network)


@pytest.mark.parametrize("cached", [False, True])
def test_a_killed_worker_is_told_and_the_next_call_works(
    cached, network, alone, tmp_path
):
    encoder = TorchFeatures(
        mortal(network, tmp_path / "died"),
        batch_size=BATCH,
        n_jobs=2,
        cache_dir=tmp_path / "cache" if cached else None,
    )
    with pytest.raises(TerminatedWorkerError):
        encoder.transform(PIXELS)
    assert (tmp_path / "died").exists()
    np.testing.assert_array_equal(encoder.transform(PIXELS), alone)


def test_rows_keep_their_numbers(network, tmp_path):
    files = []
    from PIL import Image

    for row in range(40):
        files.append(tmp_path / f"{row}.png")
        Image.fromarray(PIXELS[row]).save(files[row])
    files[33].write_bytes(b"no image")
    encoder = TorchFeatures(network, batch_size=BATCH, n_jobs=2)
    with pytest.raises(ValueError, match="row 33"):
        encoder.transform(files)
    encoder.set_params(on_error="nan")
    with pytest.warns(UserWarning, match="1 rows of X cannot be read.*row 33"):
        features = encoder.transform(files)
    assert np.flatnonzero(np.isnan(features).any(1)).tolist() == [33]


def test_context_of_joblib_counts(network, alone):
    encoder = TorchFeatures(network, batch_size=BATCH)
    with joblib.parallel_config("loky", n_jobs=2):
        np.testing.assert_array_equal(encoder.transform(PIXELS), alone)
    assert encoder._loaded is None


def test_map_is_not_sent(on_disk):
    sent = pickle.dumps(ArrayImages(on_disk, None).part(5, 60))
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)._array, PIXELS[5:60])


@pytest.mark.parametrize("n_jobs, error", [(0, ValueError), ("all", TypeError)])
def test_no_number_of_jobs(n_jobs, error, network):
    with pytest.raises(error, match="n_jobs must"):
        TorchFeatures(network, n_jobs=n_jobs).transform(PIXELS)


@pytest.mark.parametrize("form", ["array", "stream"])
def test_features_in_a_file(form, network, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_file, "FILE_ROWS", 20)
    encoder = TorchFeatures(network, batch_size=BATCH)
    X = PIXELS if form == "array" else iter(list(PIXELS))
    features = encoder.transform_to(X, tmp_path / "features.npy")
    assert isinstance(features, np.memmap) and not features.flags.writeable
    np.testing.assert_array_equal(features, alone)
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), alone)


def test_a_file_is_whole_or_not_there(network, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_file, "FILE_ROWS", 20)
    encoder = TorchFeatures(network, batch_size=BATCH)
    bad = [*PIXELS[:50], "no file"]
    with pytest.raises(FileNotFoundError, match="row 18:") as told:
        encoder.transform_to(iter(bad), tmp_path / "features.npy")
    assert told.value.__notes__ == ["Row 0 stands for row 32 of X here."]
    assert not [*tmp_path.iterdir()]
    with pytest.raises(ValueError, match="no row"):
        encoder.transform_to(iter([]), tmp_path / "features.npy")
