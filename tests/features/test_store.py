"""FeatureStore: shards whole or not there, and claims that die with writers."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from sklabeldiff.features import _store
from sklabeldiff.features._store import (
    KEY_BYTES,
    DamagedShardError,
    FeatureStore,
    content_key,
)

KEYS = [content_key(bytes([i]), "test") for i in range(20)]


@pytest.fixture
def features():
    return np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)


@pytest.fixture
def open_store(tmp_path):
    return lambda dtype="float32": FeatureStore(tmp_path / "store", dtype)


@pytest.fixture
def filled(open_store, features):
    """Folder with two shards, of keys 0-7 and 8-11."""
    with open_store() as store:
        store.put(KEYS[:8], features[:8])
        store.put(KEYS[8:12], features[8:12])
    return open_store


def shards(folder):
    return sorted(folder.rglob("*.safetensors"))


def test_features_come_back_in_the_order_asked_for(filled, features):
    rows = [9, 0, 3, 9, 11]
    with filled() as store:
        read = store.read([KEYS[row] for row in rows])
    np.testing.assert_array_equal(read, features[rows])


def test_no_key_gives_nan(filled, features):
    with filled() as store:
        read = store.read([KEYS[1], None])
    np.testing.assert_array_equal(read[0], features[1])
    assert np.isnan(read[1]).all()


def test_half_precision_is_rounded_and_takes_half_the_space(
    open_store, features, tmp_path
):
    with open_store("float16") as store:
        store.put(KEYS, features)
        read = store.read(KEYS)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, features.astype(np.float16))
    overhead = 500
    assert shards(tmp_path)[0].stat().st_size < 20 * (3 * 2 + KEY_BYTES) + overhead


def test_what_half_precision_cannot_hold_is_refused(open_store):
    with open_store("float16") as store:
        with pytest.raises(ValueError, match=r"up to 70000.*cache_dtype='float32'"):
            store.put(KEYS[:1], np.array([[7e4]], dtype=np.float32))


@pytest.mark.parametrize("damage", ["truncated", "flipped key", "empty", "foreign"])
def test_damaged_shard_is_removed_and_missed(filled, features, tmp_path, damage):
    path = next(p for p in shards(tmp_path) if _holds(filled, p, KEYS[0]))
    content = path.read_bytes()
    flipped = content.replace(KEYS[0], KEYS[19])
    damaged = {
        "truncated": content[:-20],
        "flipped key": flipped,
        "empty": b"",
        "foreign": b"no shard at all",
    }
    path.write_bytes(damaged[damage])
    with pytest.warns(UserWarning, match=r"safetensors.* was damaged .*computed again"):
        store = filled().__enter__()
    with store:
        assert KEYS[0] not in store
        assert KEYS[8] in store
    assert not path.exists()


def _holds(open_store, path, key):
    with open_store() as store:
        return key in store._read_keys(path.name)[0]


def test_flipped_bit_of_a_feature_is_noticed_when_it_is_read(filled, tmp_path):
    path = next(p for p in shards(tmp_path) if _holds(filled, p, KEYS[0]))
    with filled() as store:
        expected = store._read_features(path.name).tobytes()
    content = path.read_bytes()
    assert content.count(expected) == 1
    path.write_bytes(content.replace(expected, bytes(len(expected))))
    with filled() as store:
        store.read(KEYS[8:12])
        with pytest.warns(UserWarning, match="was damaged"):
            with pytest.raises(DamagedShardError, match="Run it again"):
                store.read(KEYS[:1])
    assert not path.exists()


def test_shard_that_cannot_be_read_now_is_kept(filled, tmp_path, monkeypatch):
    def fails(*args, **kwargs):
        raise OSError("stale handle")

    with filled():
        pass
    monkeypatch.setattr(_store, "safe_open", fails)
    with pytest.raises(OSError, match=r"cannot be used .stale handle"):
        filled().__enter__()
    assert len(shards(tmp_path)) == 2


def test_vanished_features_are_an_error(filled, tmp_path):
    with filled() as store:
        for path in shards(tmp_path):
            path.unlink()
        with pytest.raises(DamagedShardError, match="vanished"):
            store.read(KEYS[:1])


def test_vectors_of_another_length_are_refused(filled):
    with filled() as store:
        with pytest.raises(ValueError, match=r"gives 4 features, .* holds 3"):
            store.put(KEYS[12:13], np.zeros((1, 4), np.float32))


def test_released_claims_are_free(filled):
    with filled() as one, filled() as two:
        one.claim(KEYS[12:14])
        one.release()
        assert two.claim(KEYS[12:14]) == [True, True]


def test_failed_write_leaves_no_shard(filled, features, tmp_path, monkeypatch):
    with filled() as store:
        monkeypatch.setattr(_store.os, "fsync", lambda file: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.put(KEYS[12:14], features[:2])
    assert len(shards(tmp_path)) == 2


def test_nothing_of_a_writer_is_left_behind(filled, tmp_path):
    with filled() as store:
        store.claim(KEYS[12:14])
    assert list((tmp_path / "store" / "writers").iterdir()) == []


def test_large_shards_are_not_joined(open_store, tmp_path, monkeypatch):
    monkeypatch.setattr(_store, "MAX_SMALL_SHARDS", 2)
    monkeypatch.setattr(_store, "SHARD_ROWS", 4)
    for start in range(0, 20, 4):
        with open_store() as store:
            store.put(KEYS[start : start + 4], np.zeros((4, 3), np.float32))
    assert len(shards(tmp_path)) == 5


def test_half_written_shard_of_a_killed_writer_is_cleared_away(filled, tmp_path):
    draft = tmp_path / "store" / "abc.safetensors.draft"
    draft.write_bytes(b"half")
    with filled():
        assert not draft.exists()


def test_key_is_claimed_once(filled):
    with filled() as one, filled() as two:
        assert one.claim(KEYS[10:14]) == [False, False, True, True]  # 10, 11: on disk
        assert two.claim(KEYS[12:16]) == [False, False, True, True]


def test_written_key_is_seen_by_the_others(open_store, features):
    with open_store() as one, open_store() as two:
        assert one.claim(KEYS[:2]) == [True, True]
        one.put(KEYS[:2], features[:2])
        assert two.claim(KEYS[:3]) == [False, False, True]
        np.testing.assert_array_equal(two.read(KEYS[:2]), features[:2])


def test_claims_end_with_their_writer(open_store):
    with open_store() as one:
        one.claim(KEYS[:2])
    with open_store() as two:
        assert two.claim(KEYS[:2]) == [True, True]


CLAIM_AND_HANG = """
import sys, time
from pathlib import Path
from sklabeldiff.features._store import FeatureStore
with FeatureStore(Path(sys.argv[1]), "float32") as store:
    store.claim([bytes.fromhex(sys.argv[2])])
    print("claimed", flush=True)
    time.sleep(600)
"""


def test_claims_of_a_killed_process_are_void(open_store, tmp_path):
    words = [sys.executable, "-c", CLAIM_AND_HANG, tmp_path / "store", KEYS[0].hex()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "claimed\n"
        with open_store() as store:
            assert store.claim(KEYS[:1]) == [False]
            process.kill()
            process.wait()
            assert store.claim(KEYS[:1]) == [True]
            assert len(list((tmp_path / "store" / "writers").iterdir())) == 2


def test_single_rows_are_joined_to_few_files(open_store, tmp_path, monkeypatch):
    monkeypatch.setattr(_store, "MAX_SMALL_SHARDS", 4)
    keys = [content_key(bytes([i]), "one") for i in range(30)]
    for row, key in enumerate(keys):
        with open_store() as store:
            store.put([key], np.full((1, 3), row, dtype=np.float32))
    assert len(shards(tmp_path)) <= 5
    with open_store() as store:
        read = store.read(keys)
    np.testing.assert_array_equal(read[:, 0], np.arange(30))


def test_reader_finds_what_was_joined_meanwhile(
    open_store, features, tmp_path, monkeypatch
):
    monkeypatch.setattr(_store, "MAX_SMALL_SHARDS", 4)
    with open_store() as reader:
        for row in range(6):
            with open_store() as store:
                store.put([KEYS[row]], features[row : row + 1])
        np.testing.assert_array_equal(reader.read(KEYS[:6]), features[:6])


def test_threads_share_a_folder(open_store, features):
    """Each key is computed by one thread, and all threads read all of them."""
    computed, read = [], []

    def work():
        with open_store() as store:
            for start in range(0, 20, 5):
                part = range(start, start + 5)
                mine = store.claim([KEYS[row] for row in part])
                rows = [row for row, is_mine in zip(part, mine, strict=True) if is_mine]
                time.sleep(0.01)
                computed.extend(rows)
                store.put([KEYS[row] for row in rows], features[rows])
            while not all(key in store for key in KEYS):
                store.claim(KEYS)
                time.sleep(0.01)
            read.append(store.read(KEYS))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(computed) == list(range(20))
    for table in read:
        np.testing.assert_array_equal(table, features)
