"""Fitted estimators in files: round trips, old versions, and files of strangers."""

import json
import os
import pickle
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import sklabeldiff
from sklabeldiff import (
    CADClassifier,
    CandidateBinarizer,
    CLIPFeatures,
    DDMPClassifier,
    DiffusionEditor,
    DMISClassifier,
    DTMClassifier,
    _saving,
    baselines,
    calibration,
    features,
)
from sklabeldiff.datasets import make_candidate_sets

GOLDEN = Path(__file__).parent / "data" / "format-1"
QUICK = {"max_epochs": 2, "random_state": 0}
ESTIMATORS = [
    DDMPClassifier(hidden=8, **QUICK),
    DDMPClassifier(preset="paper", hidden=16, **QUICK),
    DTMClassifier(hidden=(8,), **QUICK),
    DTMClassifier(network="axial", generator="regression", hidden=(8,), **QUICK),
    DTMClassifier(representation="full", hidden=(8,), **QUICK),
    CADClassifier(hidden=(8,), **QUICK),
    DMISClassifier(hidden=8, standardize="rows", **QUICK),
    DMISClassifier(image_shape=(2, 2), unet_size="tiny", **QUICK),
    baselines.PLKNNClassifier(),
    baselines.KernelPropagationClassifier(),
    baselines.PRODENClassifier(hidden=(8,), **QUICK),
    baselines.CCClassifier(hidden=(), **QUICK),
    baselines.DIRKClassifier(hidden=8, **QUICK),
    baselines.VolMinNetClassifier(hidden=(8,), **QUICK),
    calibration.CandidateCalibratedClassifier(baselines.PLKNNClassifier(), cv=2),
    calibration.RejectOptionClassifier(DDMPClassifier(hidden=8, **QUICK), cv=2),
]


@pytest.fixture(scope="module")
def iris():
    X, y = load_iris(return_X_y=True, as_frame=True)
    names = np.array(["setosa", "versicolor", "virginica"])
    sets = make_candidate_sets(names[y], rate=0.4, random_state=0)
    return X[::3], pd.DataFrame(sets[::3], columns=names)


@pytest.fixture(scope="module", params=ESTIMATORS, ids=lambda e: repr(e)[:60])
def fitted(request, iris):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two epochs do not converge
        return clone(request.param).fit(*iris)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, iris):
    """One small file of each method, with its class."""
    folder = tmp_path_factory.mktemp("saved")
    files = {}
    for estimator in (ESTIMATORS[0], ESTIMATORS[2], ESTIMATORS[5], ESTIMATORS[6]):
        cls = type(estimator)
        files[cls] = folder / f"{cls.__name__}.safetensors"
        clone(estimator).fit(*iris).save(files[cls])
    return files


# -- round trips -----------------------------------------------------------------------


def save_and_load(estimator, folder):
    estimator.save(folder / "model.safetensors")
    return type(estimator).load(folder / "model.safetensors")


def through_joblib(estimator, folder):
    joblib.dump(estimator, folder / "model.joblib")
    return joblib.load(folder / "model.joblib", mmap_mode="r")


def through_skops(estimator, folder):
    content = skops.io.dumps(estimator)
    unknown = skops.io.get_untrusted_types(data=content)
    assert all(name.startswith("sklabeldiff.") for name in unknown)
    return skops.io.loads(content, trusted=unknown)


def through_pickle(estimator, folder):
    return pickle.loads(pickle.dumps(estimator))


WAYS = [save_and_load, through_joblib, through_skops, through_pickle]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_there_and_back_predicts_alike(fitted, way, iris, tmp_path):
    again = way(fitted, tmp_path)
    np.testing.assert_array_equal(
        again.predict_proba(iris[0]), fitted.predict_proba(iris[0])
    )
    assert again.classes_.dtype == fitted.classes_.dtype
    assert repr(again) == repr(fitted)
    for name in ("label_distribution_", "transition_matrix_"):
        if hasattr(fitted, name):
            np.testing.assert_array_equal(getattr(again, name), getattr(fitted, name))
    if hasattr(fitted, "label_issues"):
        assert again.label_issues().equals(fitted.label_issues())


def test_everything_that_a_fit_leaves_is_saved(fitted):
    left = {name for name in vars(fitted) if name.endswith("_") and name[0] != "_"}
    assert left <= fitted._fields.keys()


def test_a_file_is_about_as_large_as_what_is_in_it(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    _, arrays = content(tmp_path / "model")
    weights = sum(array.nbytes for array in arrays.values())
    size = (tmp_path / "model").stat().st_size
    assert size < 1.01 * weights + 8000 + 250 * len(arrays)  # names and shapes


def test_a_change_of_parameters_after_fit_is_for_the_next_fit(fitted, iris, tmp_path):
    proba = fitted.predict_proba(iris[0])
    changed = pickle.loads(pickle.dumps(fitted))
    for name, value in {"hidden": 5, "n_timesteps": 7, "network": "mlp"}.items():
        if name in changed.get_params():
            changed.set_params(**{name: value})
    for way in WAYS:
        np.testing.assert_array_equal(
            way(changed, tmp_path).predict_proba(iris[0]), proba
        )


@pytest.mark.parametrize("cls", [CLIPFeatures, features.VisionFeatures])
def test_extractors_are_saved_without_their_network(cls, tmp_path):
    extractor = cls("somewhere", image_shape=(8, 8), batch_size=3)
    again = save_and_load(extractor, tmp_path)
    assert again.get_params() == extractor.get_params()


def test_simclr_is_saved_with_its_network(tmp_path):
    X = np.random.default_rng(0).random((20, 64))
    encoder = features.SimCLRFeatures(
        image_shape=(8, 8), image_size=8, max_epochs=1, random_state=0
    ).fit(X)
    for way in WAYS:
        again = way(encoder, tmp_path)
        np.testing.assert_array_equal(again.transform(X), encoder.transform(X))
        assert len(again.get_feature_names_out()) == 128


def test_binarizer_and_editor_are_saved(tmp_path):
    labels = [{"a", "b"}, {"b"}]
    again = save_and_load(CandidateBinarizer().fit(labels), tmp_path)
    np.testing.assert_array_equal(again.transform(labels), [[1, 1], [0, 1]])
    editor = DiffusionEditor("somewhere", class_prompts={3: "a cat", 4: "a dog"})
    assert save_and_load(editor, tmp_path).get_params() == editor.get_params()


def test_folders_of_this_machine_stay_here(iris, tmp_path):
    clf = DDMPClassifier(checkpoint_dir=tmp_path / "states", **QUICK).fit(*iris)
    assert save_and_load(clf, tmp_path).checkpoint_dir is None
    assert b"states" not in (tmp_path / "model.safetensors").read_bytes()
    clip = CLIPFeatures("somewhere", cache_dir="cache")
    assert save_and_load(clip, tmp_path).cache_dir is None


def test_save_refuses_what_it_cannot_write(iris, tmp_path):
    wrapped = baselines.CandidateWeightedClassifier(LogisticRegression()).fit(*iris)
    with pytest.raises(TypeError, match=r"LogisticRegression.*skops"):
        wrapped.save(tmp_path / "model")
    clf = baselines.PRODENClassifier(max_epochs=1).fit(*iris)
    clf.set_params(random_state=np.random.RandomState(0))
    with pytest.raises(TypeError, match="for random_state an integer"):
        clf.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_here_is_named(iris, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    clf = DDMPClassifier(hidden=8, **QUICK).fit(*iris).set_params(device="cuda")
    clf.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"device='cuda' cannot be used here"):
        DDMPClassifier.load(tmp_path / "model")
    again = DDMPClassifier.load(tmp_path / "model", device="cpu")
    assert again.device == "cpu"
    again.predict(iris[0])


# -- old versions ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted(GOLDEN.glob("*.safetensors")), ids=lambda path: path.stem
)
def test_files_of_older_versions_open(path):
    expected = json.loads((GOLDEN / "expected.json").read_text())
    name = path.stem
    cls = getattr(sklabeldiff, name, None) or getattr(baselines, name)
    again = cls.load(path)
    assert again.classes_.tolist() == expected["classes"]
    proba = again.predict_proba(np.array(expected["X"]))
    np.testing.assert_allclose(proba, expected["proba"][name], atol=2e-5)


def test_a_file_of_a_later_version_is_refused(iris, tmp_path, monkeypatch):
    monkeypatch.setattr(_saving, "FORMAT", "sklabeldiff-9")
    baselines.PLKNNClassifier().fit(*iris).save(tmp_path / "new")
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"'sklabeldiff-9'.*the version that saved it"):
        baselines.PLKNNClassifier.load(tmp_path / "new")


def test_every_saveable_estimator_is_known_by_name():
    for module, names in _saving.MODULES.items():
        for name in names:
            assert getattr(sys.modules[module], name, None) or name
    known = {name for names in _saving.MODULES.values() for name in names}
    for module in (sklabeldiff, baselines, calibration, features):
        for name in module.__all__:
            if isinstance(getattr(module, name), type):
                assert name in known


# -- files of strangers ----------------------------------------------------------------


def content(path):
    with safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["sklabeldiff"])
        return header, {key: file.get_tensor(key) for key in file.keys()}


def write(path, header, arrays):
    """Write a file with a right digest, as somebody would who knows the format."""
    header.pop("digest", None)
    header["digest"] = _saving._digest(header, arrays)
    save_file(arrays, path, metadata={"sklabeldiff": json.dumps(header)})


def bit_flip(raw, rng):
    i = int(rng.integers(len(raw)))
    raw[i] ^= 1 << int(rng.integers(8))


def truncation(raw, rng):
    del raw[int(rng.integers(len(raw))) :]


def tail(raw, rng):
    raw += rng.bytes(int(rng.integers(1, 100)))


def overwritten(raw, rng):
    start = int(rng.integers(len(raw)))
    raw[start : start + 16] = rng.bytes(len(raw[start : start + 16]))


def huge_header(raw, rng):
    raw[:8] = int(rng.integers(2**25, 2**62)).to_bytes(8, "little")


BYTES = [bit_flip, truncation, tail, overwritten, huge_header]


def swapped_shape(header, arrays, rng):
    name = rng.choice([n for n, a in arrays.items() if a.size > 1])
    shape = arrays[name].shape
    new = shape[::-1] if shape != shape[::-1] else (arrays[name].size, 1, 1, 1)
    arrays[name] = arrays[name].reshape(new if len(shape) > 1 else (1, *shape))


def other_size(header, arrays, rng):
    name = rng.choice([n for n, a in arrays.items() if a.ndim])
    arrays[name] = np.concatenate([arrays[name]] * 2)


def other_type(header, arrays, rng):
    name = rng.choice(list(arrays))
    arrays[name] = arrays[name].astype(np.uint8)


def not_finite(header, arrays, rng):
    names = [n for n, a in arrays.items() if a.dtype.kind == "f" and a.size]
    # Constants of columns are NaN where there is none.
    name = rng.choice([n for n in names if n != "model_state_.scaler.constant"])
    arrays[name] = arrays[name].copy()
    arrays[name].flat[int(rng.integers(arrays[name].size))] = rng.choice(
        [np.nan, np.inf, -np.inf]
    )


def missing(header, arrays, rng):
    del arrays[rng.choice(list(arrays))]


def renamed(header, arrays, rng):
    name = rng.choice(list(arrays))
    arrays[rng.choice(["../../outside", "/absolute", "a\x00b", ""])] = arrays.pop(name)


def other_class(header, arrays, rng):
    header["class"] = rng.choice(["os.system", "../DDMP", "LogisticRegression"])


def unknown_attribute(header, arrays, rng):
    name = rng.choice(["__class__", "predict", "_built", "__reduce__", "evil_"])
    header["fitted"][str(name)] = 1


def unknown_parameter(header, arrays, rng):
    header["params"][str(rng.choice(["__class__", "evil", "self", "fit"]))] = 1


def huge_parameter(header, arrays, rng):
    names = ["hidden", "n_timesteps", "n_blocks", "n_draws", "n_sampling_steps"]
    used = {"DDMPClassifier": names[:2], "DTMClassifier": names[:2]}.get(
        header["class"], names[:1]
    )
    header["params"][str(rng.choice(used))] = int(rng.choice([10**9, 10**12, 2**62]))


def folder_to_write(header, arrays, rng):
    header["params"]["checkpoint_dir"] = "folder/to/write"


def estimator_inside(header, arrays, rng):
    header["params"]["random_state"] = {
        "estimator": {"class": "os.system", "params": {"command": "true"}}
    }


def other_value(header, arrays, rng):
    values = [{"exec": "1"}, {"array": "x"}, {"dict": []}, [], {"list": [[]]}, {}]
    name = rng.choice(sorted(header["fitted"]))
    header["fitted"][str(name)] = values[int(rng.integers(len(values)))]


def repeated_class(header, arrays, rng):
    labels = header["fitted"]["classes_"]["list"]
    labels[0] = labels[1]


def wide_labels(header, arrays, rng):
    names = ["x" * 10**6, *map(str, range(10**5))]  # 400 GB as an array of numpy
    header["fitted"]["classes_"]["list"] = names


def nested(header, arrays, rng):
    deep = {"items": []}
    for _ in range(400):
        deep = {"items": [deep]}
    header["fitted"]["history_"] = deep


CONTENT = [
    swapped_shape,
    other_size,
    other_type,
    not_finite,
    missing,
    renamed,
    other_class,
    unknown_attribute,
    unknown_parameter,
    huge_parameter,
    folder_to_write,
    estimator_inside,
    other_value,
    repeated_class,
    nested,
]


@pytest.fixture(scope="module")
def no_memory():
    """Let the process take half a gigabyte more than it has, and no more."""
    status = Path("/proc/self/statm").read_text().split()
    now = int(status[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**29, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture(scope="module")
def no_code():
    """Nothing is imported, run or opened for writing while a file is read."""
    seen = []
    watched = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "compile"}

    def hook(event, args):
        if hook.active and (
            event in watched
            or (event == "open" and isinstance(args[1], str) and "w" in args[1])
        ):
            seen.append((event, args))

    hook.active = True
    sys.addaudithook(hook)
    yield seen
    hook.active = False


N_MUTATED = 1000


def test_a_thousand_mutated_files_are_refused(saved, tmp_path, no_memory, no_code):
    rng = np.random.default_rng(0)
    mutations = BYTES + CONTENT
    path = tmp_path / "mutated"
    files = list(saved.items())
    for i in range(N_MUTATED):
        cls, good = files[i % len(files)]
        mutate = mutations[i // len(files) % len(mutations)]
        if mutate in BYTES:
            raw = bytearray(good.read_bytes())
            before = bytes(raw)
            mutate(raw, rng)
            if bytes(raw) == before:
                continue
            path.write_bytes(raw)
        else:
            header, arrays = content(good)
            mutate(header, arrays, rng)
            write(path, header, arrays)
        no_code.clear()
        start = time.perf_counter()
        with pytest.raises(ValueError, match=r"mutated (cannot be loaded|holds|has)"):
            print(mutate.__name__, cls.__name__)  # shown if it is not refused
            cls.load(path)
        assert time.perf_counter() - start < 1
        assert not no_code


def test_labels_of_unheard_of_width_are_refused(saved, tmp_path, no_memory):
    cls, good = next(iter(saved.items()))
    header, arrays = content(good)
    wide_labels(header, arrays, None)
    write(tmp_path / "wide", header, arrays)
    with pytest.raises(ValueError, match="too large"):
        cls.load(tmp_path / "wide")


@pytest.mark.parametrize("what", ["folder", "pipe", "missing", "empty"])
def test_what_is_no_file_is_refused(what, tmp_path):
    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "empty":
        path.touch()
    error = FileNotFoundError if what == "missing" else ValueError
    with pytest.raises(error, match=what):
        DDMPClassifier.load(path)


def test_a_safetensors_file_of_others_is_refused(tmp_path):
    save_file({"a": np.zeros(2)}, tmp_path / "other")
    with pytest.raises(ValueError, match="no sklabeldiff estimator"):
        DDMPClassifier.load(tmp_path / "other")


def test_a_file_of_another_class_names_it(saved):
    with pytest.raises(ValueError, match="'DTMClassifier', not a DDMPClassifier"):
        DDMPClassifier.load(saved[DTMClassifier])


def test_a_file_that_cannot_be_written_leaves_the_old_one(saved, iris, tmp_path):
    clf = DDMPClassifier.load(saved[DDMPClassifier])
    path = tmp_path / "model"
    clf.save(path)
    before = path.read_bytes()
    code = (
        "import resource, sys\n"
        "from sklabeldiff import DDMPClassifier\n"
        "clf = DDMPClassifier.load(sys.argv[1])\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    clf.save(sys.argv[1])\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True
    )
    assert done.stdout.strip() == "OSError", done.stderr
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
