"""CLIPFeatures on a tiny random CLIP: no download, the whole path."""

import importlib
import pickle
import sys

import joblib
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import sklabeldiff.features
from sklabeldiff._callbacks import HAVE_CALLBACKS
from sklabeldiff.features import CLIPFeatures

PACKAGE = "sklabeldiff.features"
N = 7


# --- the features -------------------------------------------------------------------


def test_features_equal_a_direct_call_of_transformers(
    encoder, clip_folder, pixels, processor_class
):
    model = transformers.CLIPModel.from_pretrained(clip_folder).eval()
    images = [Image.fromarray(image) for image in pixels]
    inputs = processor_class()(images=images, return_tensors="pt")
    with torch.no_grad():
        direct = model.get_image_features(**inputs)
    direct = getattr(direct, "pooler_output", direct).numpy()
    direct /= np.linalg.norm(direct, axis=1, keepdims=True)
    features = encoder.fit_transform(pixels)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, direct, atol=1e-6)
    assert np.ptp(features, axis=0).max() > 0.01  # the images do differ


def test_vision_only_model_gives_the_same_features(
    encoder, clip_folder, pixels, tmp_path, processor_class
):
    config = transformers.CLIPConfig.from_pretrained(clip_folder)
    config.vision_config.projection_dim = config.projection_dim
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(
        clip_folder, config=config.vision_config
    )
    model.save_pretrained(tmp_path)
    processor_class().save_pretrained(tmp_path)
    other = CLIPFeatures(str(tmp_path), device="cpu", batch_size=4)
    np.testing.assert_array_equal(other.transform(pixels), encoder.transform(pixels))


def test_features_have_length_one(encoder, pixels):
    lengths = np.linalg.norm(encoder.transform(pixels), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_features_do_not_depend_on_batch_split_or_order(encoder, pixels):
    whole = encoder.transform(pixels)
    one_by_one = [encoder.transform(pixels[row : row + 1])[0] for row in range(N)]
    np.testing.assert_array_equal(one_by_one, whole)
    order = np.random.default_rng(1).permutation(N)
    np.testing.assert_array_equal(encoder.transform(pixels[order]), whole[order])


def test_every_block_has_batch_size_images(encoder, pixels):
    seen = []
    encoder.fit(pixels)
    encoder._loaded[1].module.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(len(kwargs["pixel_values"])),
        with_kwargs=True,
    )
    encoder.transform(pixels)
    assert seen == [4, 4]


def test_bfloat16_is_close_to_float32_and_returned_as_float32(encoder, pixels):
    full = encoder.transform(pixels)
    half = encoder.set_params(precision="bfloat16").transform(pixels)
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, full, atol=0.02)  # 8 bits of mantissa
    assert not np.array_equal(half, full)


# --- loading, copies, pickles -------------------------------------------------------


def test_nothing_is_loaded_before_the_first_use(loads, clip_folder, pixels):
    encoder = clone(CLIPFeatures(clip_folder, device="cpu", batch_size=4))
    assert "CLIPFeatures" in repr(encoder)
    assert encoder.set_params(batch_size=2).get_params()["batch_size"] == 2
    assert loads == []
    encoder.fit(pixels).transform(pixels)
    assert loads == [str(clip_folder)]
    clone(encoder)
    assert len(loads) == 1


def test_import_needs_neither_transformers_nor_pillow(monkeypatch):
    monkeypatch.setattr(sklabeldiff, "features", sklabeldiff.features)  # put back
    for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
        monkeypatch.delitem(sys.modules, name)
    for name in ["transformers", "PIL", "PIL.Image"]:
        monkeypatch.setitem(sys.modules, name, None)
    assert repr(importlib.import_module(PACKAGE).CLIPFeatures()) == "CLIPFeatures()"


def test_another_model_is_loaded_after_set_params(
    encoder, squash_folder, loads, pixels
):
    before = encoder.transform(pixels)
    after = encoder.set_params(model=squash_folder).transform(pixels)
    assert len(loads) == 2
    assert not np.array_equal(before, after)


def test_pickle_is_small_and_gives_the_same_features(encoder, pixels, loads):
    expected = encoder.fit_transform(pixels)
    data = pickle.dumps(encoder)
    assert len(data) < 1000  # parameters only; the tiny model alone has 100 kB
    assert encoder._loaded is not None  # pickling leaves the original as it was
    restored = pickle.loads(data)
    assert list(restored.get_feature_names_out()) == list(
        encoder.get_feature_names_out()
    )
    assert len(loads) == 1
    np.testing.assert_array_equal(restored.transform(pixels), expected)


def test_showing_an_encoder_loads_nothing(encoder, loads):
    assert "CLIPFeatures" in encoder._repr_html_()
    assert not loads


@pytest.mark.skipif(not HAVE_CALLBACKS, reason="scikit-learn before 1.9")
def test_callbacks_of_a_pipeline_reach_it(encoder, pixels):
    class Listener:
        max_propagation_depth = None

        def __init__(self):
            self.names = []

        def setup(self, estimator, context): ...

        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context):
            self.names.append(context.estimator_name)

        def on_fit_task_end(self, estimator, context): ...

    listener = Listener()
    pipeline = make_pipeline(encoder, LogisticRegression()).set_callbacks(listener)
    pipeline.fit(pixels, np.arange(len(pixels)) % 2)
    assert "CLIPFeatures" in listener.names


def test_joblib_workers_give_the_same_features(encoder, pixels):
    expected = encoder.fit_transform(pixels)
    run = joblib.Parallel(n_jobs=2, backend="threading")
    parts = run(joblib.delayed(clone(encoder).transform)(pixels[i:]) for i in range(3))
    for i, part in enumerate(parts):
        np.testing.assert_array_equal(part, expected[i:])


def test_global_random_state_is_left_alone(encoder, pixels):
    before = torch.get_rng_state()
    np_before = np.random.get_state()[1].copy()  # noqa: NPY002
    encoder.fit_transform(pixels)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], np_before)  # noqa: NPY002


def test_stderr_is_silent_unless_verbose(encoder, pixels, capfd):
    log = transformers.utils.logging
    log.set_verbosity(log.WARNING)
    log.enable_progress_bar()
    encoder.fit_transform(pixels)
    assert capfd.readouterr() == ("", "")
    assert (log.get_verbosity(), log.is_progress_bar_enabled()) == (log.WARNING, True)
    encoder.set_params(verbose=1).transform(pixels)
    out, err = capfd.readouterr()
    assert out == ""
    assert "CLIPFeatures" in err
    assert "7/7" in err


@pytest.mark.parametrize("module", ["transformers", "PIL.Image"])
def test_missing_dependency_names_the_extra(encoder, pixels, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "sklabeldiff\[vision\]"'):
        encoder.fit(pixels)


def test_unknown_model_is_refused_with_a_remedy(pixels, tmp_path):
    with pytest.raises(OSError, match=r"nowhere' cannot be loaded.*pass its folder"):
        CLIPFeatures(tmp_path / "nowhere").fit(pixels)


def test_model_without_image_processor_is_refused(clip_folder, pixels, tmp_path):
    model = transformers.CLIPModel.from_pretrained(clip_folder)
    model.save_pretrained(tmp_path)
    with pytest.raises(OSError, match=r"cannot be loaded.*image processor"):
        CLIPFeatures(tmp_path).fit(pixels)


def test_other_networks_are_refused(pixels, tmp_path):
    transformers.ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="type 'vit', not a CLIP model"):
        CLIPFeatures(tmp_path).fit(pixels)


def test_model_with_missing_weights_is_refused(
    clip_folder, pixels, tmp_path, processor_class
):
    model = transformers.CLIPModel.from_pretrained(clip_folder)
    weights = {k: v for k, v in model.state_dict().items() if "visual_proj" not in k}
    model.save_pretrained(tmp_path, state_dict=weights)
    processor_class().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks weights.*visual_projection.weight"):
        CLIPFeatures(tmp_path).fit(pixels)
