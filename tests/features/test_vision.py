"""VisionFeatures on tiny random encoders of four kinds."""

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklabeldiff.features import VisionFeatures

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
MAPS = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
KINDS = {
    "vit": lambda: transformers.ViTModel(transformers.ViTConfig(**SMALL)),
    "vit without pooler": lambda: transformers.ViTForImageClassification(
        transformers.ViTConfig(**SMALL)
    ),
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**SMALL)),
    "siglip": lambda: transformers.SiglipModel(
        transformers.SiglipConfig(
            text_config={k: SMALL[k] for k in list(SMALL)[:4]} | {"vocab_size": 8},
            vision_config=SMALL,
        )
    ),
    "resnet": lambda: transformers.ResNetModel(
        transformers.ResNetConfig(**MAPS, layer_type="basic")
    ),
}


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folder of a random encoder of each kind, for images of 32 pixels."""
    made = {}
    for kind, make in KINDS.items():
        made[kind] = tmp_path_factory.mktemp(kind.replace(" ", "_"))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            make().save_pretrained(made[kind])
        make_processor().save_pretrained(made[kind])
    return made


def make_processor():
    cls = getattr(transformers, "ViTImageProcessorPil", None)
    return (cls or transformers.ViTImageProcessor)(size={"height": 32, "width": 32})


def direct(folder, cls, pixels):
    """Output of transformers' own model."""
    model = cls.from_pretrained(folder).eval()
    images = [Image.fromarray(image) for image in pixels]
    with torch.no_grad():
        return model(**make_processor()(images=images, return_tensors="pt"))


EXPECTED = {
    "vit": (transformers.ViTModel, lambda out: out.pooler_output),
    "vit without pooler": (
        transformers.ViTModel,
        lambda out: out.last_hidden_state[:, 0],
    ),
    "dinov2": (transformers.Dinov2Model, lambda out: out.pooler_output),
    "siglip": (transformers.SiglipVisionModel, lambda out: out.pooler_output),
    "resnet": (transformers.ResNetModel, lambda out: out.pooler_output.flatten(1)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_features_equal_a_direct_call_of_transformers(folders, pixels, kind):
    cls, take = EXPECTED[kind]
    encoder = VisionFeatures(folders[kind], device="cpu", batch_size=4)
    features = encoder.fit(pixels).transform(pixels)
    expected = take(direct(folders[kind], cls, pixels))
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert encoder.n_features_out_ == features.shape[1]
    assert np.ptp(features, axis=0).max() > 0.01  # the images do differ


POOLINGS = {
    ("dinov2", "cls"): lambda out: out.last_hidden_state[:, 0],
    ("dinov2", "mean"): lambda out: out.last_hidden_state.mean(1),
    ("resnet", "mean"): lambda out: out.last_hidden_state.mean((2, 3)),
}


@pytest.mark.parametrize(("kind", "pooling"), POOLINGS)
def test_pooling_is_chosen(folders, pixels, kind, pooling):
    encoder = VisionFeatures(folders[kind], pooling=pooling, device="cpu")
    out = direct(folders[kind], EXPECTED[kind][0], pixels)
    expected = POOLINGS[kind, pooling](out)
    np.testing.assert_allclose(encoder.transform(pixels), expected, atol=1e-5)


def test_length_one_if_wanted(folders, pixels):
    encoder = VisionFeatures(folders["dinov2"], device="cpu")
    features = encoder.transform(pixels)
    unit = clone(encoder).set_params(normalize=True).transform(pixels)
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "pooling", "message"),
    [
        ("vit without pooler", "pooler", "its weights were not stored"),
        ("resnet", "cls", "maps, not tokens"),
        ("dinov2", "max", "pooling must be one of"),
    ],
)
def test_impossible_pooling_is_refused_before_any_work(
    folders, pixels, kind, pooling, message
):
    with pytest.raises(ValueError, match=message):
        VisionFeatures(folders[kind], pooling=pooling, device="cpu").fit(pixels)


def test_image_half_alone_is_loaded(folders, pixels):
    encoder = VisionFeatures(folders["siglip"], device="cpu").fit(pixels)
    assert type(encoder._encoder().module) is transformers.SiglipVisionModel


def test_model_of_texts_is_refused(pixels, tmp_path):
    config = transformers.BertConfig(
        vocab_size=8, **{k: SMALL[k] for k in list(SMALL)[:4]}
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"'bert', which does not take images.*Text"):
        VisionFeatures(tmp_path, device="cpu").fit(pixels)


def test_missing_weights_are_named(folders, pixels, tmp_path):
    model = transformers.Dinov2Model.from_pretrained(folders["dinov2"])
    weights = {k: v for k, v in model.state_dict().items() if "layer.1.mlp" not in k}
    model.save_pretrained(tmp_path, state_dict=weights)
    make_processor().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks weights.*layer\.1\.mlp"):
        VisionFeatures(tmp_path, device="cpu").fit(pixels)


def test_unknown_model_is_refused_with_a_remedy(pixels, tmp_path):
    with pytest.raises(OSError, match=r"image model .*cannot be loaded.*pass its fold"):
        VisionFeatures(tmp_path / "nowhere").fit(pixels)


def test_cache_tells_poolings_and_contents_apart(folders, pixels, tmp_path):
    encoder = VisionFeatures(folders["dinov2"], device="cpu", cache_dir=tmp_path)
    for params in ({}, {"pooling": "mean"}, {"model": folders["vit"]}):
        encoder.set_params(**params)
        expected = clone(encoder).set_params(cache_dir=None).transform(pixels)
        np.testing.assert_array_equal(encoder.transform(pixels), expected)
    assert len(list(tmp_path.iterdir())) == 3


@parametrize_with_checks(
    [VisionFeatures(image_shape=(1, -1), value_range=(-200, 200), batch_size=8)]
)
def test_sklearn_estimator_checks(estimator, check, folders):
    params = {"model": str(folders["resnet"]), "device": "cpu"}
    check(clone(estimator).set_params(**params))
