"""TorchFeatures: networks of the user's own."""

import pickle
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from sklabeldiff.features import TorchFeatures


class Network(nn.Module):
    """Convolution, batch norm, dropout: what differs between training and use."""

    def __init__(self, channels=6):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        with torch.no_grad():
            for weight in self.conv.parameters():
                weight.normal_(generator=generator)
        self.norm = nn.BatchNorm2d(channels)
        self.drop = nn.Dropout()

    def forward(self, images):
        return self.drop(self.norm(self.conv(images)).mean((2, 3)))


def half_size(image):
    """PIL image -> tensor (3, h / 2, w / 2) from -1 to 1."""
    small = image.resize((image.width // 2, image.height // 2))
    return torch.from_numpy(np.asarray(small) / np.float32(127.5) - 1).permute(2, 0, 1)


@pytest.fixture
def network():
    return Network()


@pytest.fixture
def encoder(network):
    return TorchFeatures(network, device="cpu", batch_size=4)


def run(network, images):
    with torch.no_grad():
        return network.eval()(images).numpy()


def test_features_are_those_of_the_module_on_images_from_0_to_1(
    encoder, network, pixels
):
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    features = encoder.fit_transform(pixels)
    np.testing.assert_allclose(features, run(network, images), atol=1e-5)


def test_preprocess_makes_each_image_a_tensor(encoder, network, pixels):
    encoder.set_params(preprocess=half_size)
    images = torch.stack([half_size(Image.fromarray(image)) for image in pixels])
    expected = run(network, images)
    np.testing.assert_allclose(encoder.transform(pixels), expected, atol=1e-5)
    mixed = [Image.fromarray(pixels[0]), *pixels[1:]]
    np.testing.assert_array_equal(encoder.transform(mixed), encoder.transform(pixels))


def test_module_of_the_user_is_left_as_it_is(encoder, network, pixels):
    encoder.set_params(precision="bfloat16").fit_transform(pixels)
    assert network.training
    assert all(
        p.requires_grad and p.dtype == torch.float32 for p in network.parameters()
    )


def test_function_that_makes_the_module_keeps_weights_out_of_pickles(pixels):
    encoder = TorchFeatures(Network, device="cpu")
    with pytest.raises(TypeError, match="a function without arguments that makes one"):
        encoder.fit(pixels)
    encoder.set_params(module=make_network)
    expected = TorchFeatures(Network(), device="cpu").transform(pixels)
    np.testing.assert_array_equal(encoder.fit(pixels).transform(pixels), expected)
    assert b"conv" not in pickle.dumps(encoder)


def make_network():
    return Network()


def test_pickle_holds_a_module(encoder, pixels):
    expected = encoder.fit_transform(pixels)
    restored = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(restored.transform(pixels), expected)
    assert restored._loaded is not None
    assert b"_loaded" not in pickle.dumps(restored)


def test_features_do_not_depend_on_batch_split_or_order(encoder, pixels):
    whole = encoder.transform(pixels)
    one_by_one = [encoder.transform(pixels[row : row + 1])[0] for row in range(7)]
    np.testing.assert_array_equal(one_by_one, whole)
    np.testing.assert_array_equal(encoder.transform(pixels[::-1]), whole[::-1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_network_without_weights_works(pixels, precision):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1))
    encoder = TorchFeatures(network, device="cpu", precision=precision)
    expected = pixels.mean((1, 2)) / 255
    atol = 1e-5 if precision == "float32" else 0.02  # 8 bits of mantissa
    np.testing.assert_allclose(encoder.transform(pixels), expected, atol=atol)


def test_width_is_known_after_fit_and_after_a_stream(encoder, pixels):
    assert encoder.fit(pixels).n_features_out_ == 6
    stream = clone(encoder).fit(iter(pixels))
    with pytest.raises(AttributeError, match="not fitted yet"):
        stream.get_feature_names_out()
    stream.transform(iter(pixels))
    assert stream.get_feature_names_out()[-1] == "torchfeatures5"


class Gives(nn.Module):
    """Gives the same whatever comes in."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, images):
        return self.output


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (torch.zeros(64, 5, 4, 4), r"shape \(64, 5, 4, 4\), where .*AdaptiveAvgPool2d"),
        (torch.zeros(64), r"shape \(64,\)"),
        ({"x": 1}, "gives a dict"),
        (torch.full((64, 2), torch.nan), "NaN or infinity for row 0.*float32"),
    ],
)
def test_network_that_gives_no_vectors_is_refused(pixels, output, message):
    with pytest.raises(ValueError, match=message):
        TorchFeatures(Gives(output), device="cpu").fit(pixels)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"module": "resnet18"}, "module='resnet18': give a torch.nn.Module"),
        ({"module": dict}, "give a torch.nn.Module"),
        ({"preprocess": 224}, "preprocess=224: give a function"),
    ],
)
def test_parameters_of_another_kind_are_refused(encoder, pixels, params, message):
    with pytest.raises(TypeError, match=message):
        encoder.set_params(**params).fit(pixels)


def test_function_that_makes_no_module_is_refused(encoder, pixels):
    with pytest.raises(TypeError, match=r"returned 3: a torch.nn.Module"):
        encoder.set_params(module=lambda: 3).fit(pixels)


class Locked:
    """A preprocess that no pickle can hold."""

    def __init__(self):
        self.lock = threading.Lock()

    def __call__(self, image):
        return half_size(image)

    def __deepcopy__(self, memo):
        return self


def test_preprocess_that_cannot_be_named_is_refused_by_the_cache(
    encoder, pixels, tmp_path
):
    encoder.set_params(preprocess=Locked()).transform(pixels)
    encoder.set_params(cache_dir=tmp_path)
    with pytest.raises(ValueError, match=r"cannot be told from others.*cache_dir=None"):
        encoder.transform(pixels)


def test_network_that_gives_too_few_rows_is_refused(pixels):
    with pytest.raises(ValueError, match="gives 1 rows for 64 items"):
        TorchFeatures(Gives(torch.zeros(1, 2)), device="cpu").transform(pixels)


class Divides(nn.Module):
    """Gives infinity for black images."""

    def forward(self, images):
        return 1 / images.mean((2, 3))


def test_row_that_becomes_infinite_is_named(encoder, pixels):
    images = pixels.copy()
    images[5] = 0
    with pytest.raises(ValueError, match="infinity for row 5"):
        encoder.set_params(module=Divides()).transform(images)


def test_first_row_may_be_bad(encoder, pixels):
    encoder.set_params(on_error="nan")
    encoder.fit([None, *pixels])
    with pytest.warns(UserWarning, match="row 0 is None"):
        encoder.transform([None, *pixels])
    assert len(encoder.get_feature_names_out()) == 6


def test_width_follows_the_last_fit_and_the_last_output(encoder, pixels):
    encoder.fit(pixels).set_params(module=Network(9))
    assert encoder.fit(iter(pixels)).transform(pixels).shape[1] == 9
    assert len(encoder.get_feature_names_out()) == 9


def test_device_without_numbers_is_refused(encoder, pixels):
    with pytest.raises(ValueError, match="device='meta' holds no numbers"):
        encoder.set_params(device="meta").fit(pixels)


def test_stream_passes_in_whole_blocks(encoder, pixels, monkeypatch):
    monkeypatch.setattr("sklabeldiff.features._image_base.PART_ROWS", 3)
    module = encoder.fit(pixels)._encoder().module
    seen = []
    module.register_forward_pre_hook(lambda *_: seen.append(1))
    encoder.transform(iter(pixels))
    assert len(seen) == 2  # of 4 and 3 images, not of 3, 3 and 1


def test_images_of_several_sizes_are_named(encoder, pixels):
    images = [*pixels[:3], pixels[3][:20]]
    with pytest.raises(ValueError, match=r"row 3 is .*\(20, 48\).*row 0 .*\(40, 48\)"):
        encoder.transform(images)


@pytest.mark.parametrize("form", ["list", "array"])
def test_bad_rows_are_nan_and_the_others_as_ever(encoder, pixels, tmp_path, form):
    expected = encoder.transform(pixels)
    if form == "list":
        broken = tmp_path / "broken.png"
        broken.write_bytes(b"no image")
        X = [pixels[0], None, pixels[2], broken, "missing.png", *pixels[5:]]
        bad = [1, 3, 4]
    else:
        X = pixels / 255
        X[2, 0, 0, 0], X[4, 1, 1, 1] = np.nan, 7
        bad = [2, 4]
    encoder.set_params(on_error="nan")
    with pytest.warns(UserWarning, match=rf"{len(bad)} rows of X cannot be read"):
        features = encoder.transform(X)
    good = np.setdiff1d(np.arange(7), bad)
    assert np.isnan(features[bad]).all()
    np.testing.assert_array_equal(features[good], expected[good])


def test_bad_rows_of_a_stream_are_nan(encoder, pixels, monkeypatch):
    monkeypatch.setattr("sklabeldiff.features._image_base.PART_ROWS", 2)
    expected = encoder.transform(pixels)
    encoder.set_params(on_error="nan")
    with pytest.warns(UserWarning, match=r"2 rows.*row 1 is None.*row 6 is None"):
        features = encoder.transform(iter([pixels[0], None, *pixels[2:6], None]))
    assert np.isnan(features[[1, 6]]).all()
    np.testing.assert_array_equal(features[[0, 2, 3, 4, 5]], expected[[0, 2, 3, 4, 5]])


def test_rows_that_are_all_bad_are_an_error(encoder):
    encoder.set_params(on_error="nan")
    with pytest.raises(ValueError, match=r"None of the 6 .*And 3 more: rows 3, 4, 5\."):
        encoder.transform([None] * 6)


class Maker:
    """Makes a network; shown without an address, which differs between processes."""

    def __call__(self):
        return Network()

    def __repr__(self):
        return "Maker()"


@parametrize_with_checks(
    [
        TorchFeatures(
            Maker(),  # hashes of copies of modules differ, and are compared
            image_shape=(1, -1),
            value_range=(-200, 200),
            batch_size=8,
            device="cpu",
        )
    ]
)
def test_sklearn_estimator_checks(estimator, check):
    check(estimator)
