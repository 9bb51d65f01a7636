"""CLIPFeatures on a tiny random CLIP: no download, the whole path."""

import importlib
import pickle
import sys

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
import transformers
from PIL import Image
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import sklabeldiff.features
from sklabeldiff import DDMPClassifier
from sklabeldiff._callbacks import HAVE_CALLBACKS
from sklabeldiff.features import CLIPFeatures

PACKAGE = "sklabeldiff.features"
N, H, W = 7, 40, 48
WIDTH = 16  # length of the tiny model's features
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Run torch on one thread: for matrices this small, more only get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """Folder of a random CLIP with 2 layers of width 32, for images of 32 pixels."""
    folder = tmp_path_factory.mktemp("clip")
    text = {"vocab_size": 8, "max_position_embeddings": 4}
    tokens = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = transformers.CLIPConfig(
        text_config=TOWER | text | tokens,
        vision_config=TOWER | {"image_size": 32, "patch_size": 8},
        projection_dim=WIDTH,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.CLIPModel(config).save_pretrained(folder)
    processor_class().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def squash_folder(clip_folder, tmp_path_factory):
    """Folder of the same CLIP, whose processor squashes images to a square."""
    folder = tmp_path_factory.mktemp("squash")
    model = transformers.CLIPModel.from_pretrained(clip_folder)
    model.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    processor_class(size=size, do_center_crop=False).save_pretrained(folder)
    return folder


def processor_class(**kwargs):
    cls = getattr(transformers, "CLIPImageProcessorPil", None)
    defaults = {
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
    }
    return (cls or transformers.CLIPImageProcessor)(**(defaults | kwargs))


@pytest.fixture
def encoder(clip_folder):
    return CLIPFeatures(clip_folder, batch_size=4, device="cpu")


@pytest.fixture
def loads(monkeypatch):
    """Names that weights were loaded from, in order."""
    cls = transformers.CLIPVisionModelWithProjection
    names, original = [], cls.from_pretrained

    def counted(name, **kwargs):
        names.append(name)
        return original(name, **kwargs)

    monkeypatch.setattr(cls, "from_pretrained", counted)
    return names


@pytest.fixture(scope="session")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (N, H, W, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def paths(pixels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    names = [folder / f"{row}.png" for row in range(N)]
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image).save(name)
    return names


def table(values):
    """Flattened rows as a DataFrame with named columns."""
    return pd.DataFrame(values).add_prefix("pixel")


# --- the features -------------------------------------------------------------------


def test_features_equal_a_direct_call_of_transformers(encoder, clip_folder, pixels):
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
    encoder, clip_folder, pixels, tmp_path
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


# --- forms of X ---------------------------------------------------------------------

FORMS = {
    "list of PIL images": lambda x, p: [Image.fromarray(image) for image in x],
    "tuple of PIL images": lambda x, p: tuple(Image.open(path) for path in p),
    "list of pathlib paths": lambda x, p: p,
    "list of str paths": lambda x, p: [str(path) for path in p],
    "array of str paths": lambda x, p: np.array([str(path) for path in p]),
    "Series of paths": lambda x, p: pd.Series(p, index=range(10, 10 + N)),
    "Series of str paths": lambda x, p: pd.Series([str(path) for path in p]),
    "polars Series of paths": lambda x, p: pl.Series([str(path) for path in p]),
    "one-column DataFrame of paths": lambda x, p: pd.DataFrame({"path": p}),
    "polars column": lambda x, p: pl.DataFrame({"path": [str(path) for path in p]}),
    "mixed list": lambda x, p: [x[0], p[1], Image.fromarray(x[2]), *p[3:]],
    "float array": lambda x, p: x / 255,
    "float32 array": lambda x, p: x.astype(np.float32) / np.float32(255),
    "int64 array": lambda x, p: x.astype(np.int64),
    "list of arrays": lambda x, p: list(x),
    "object array of arrays": lambda x, p: pd.Series(list(x)).to_numpy(),
    "nested lists": lambda x, p: x.tolist(),
    "uint8 tensor": lambda x, p: torch.from_numpy(x).permute(0, 3, 1, 2),
    "float tensor": lambda x, p: torch.from_numpy(x).permute(0, 3, 1, 2) / 255,
    "list of tensors": lambda x, p: list(torch.from_numpy(x).permute(0, 3, 1, 2)),
    "flattened rows": lambda x, p: x.reshape(N, -1),
    "flattened floats": lambda x, p: x.reshape(N, -1) / 255,
    "flattened lists": lambda x, p: x.reshape(N, -1).tolist(),
    "flattened tensor": lambda x, p: torch.from_numpy(x).flatten(1),
    "DataFrame": lambda x, p: table(x.reshape(N, -1)),
    "polars DataFrame": lambda x, p: pl.DataFrame(x.reshape(N, -1)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_images_gives_the_same_features(
    encoder, pixels, paths, form
):
    encoder.set_params(image_shape=(H, W, 3))
    X = FORMS[form](pixels, paths)
    expected = encoder.transform(pixels)
    np.testing.assert_array_equal(encoder.fit(X).transform(X), expected)


GREY_FORMS = {
    "tensor": lambda x: torch.from_numpy(x)[:, None],
    "one channel": lambda x: x[..., None],
    "RGB": lambda x: np.repeat(x[..., None], 3, axis=-1),
    "list of arrays": list,
    "PIL": lambda x: [Image.fromarray(image) for image in x],
    "rows": lambda x: x.reshape(N, -1),
    "16 bit": lambda x: [Image.fromarray(i.astype(np.uint16) * 257) for i in x],
}


@pytest.mark.parametrize("form", GREY_FORMS)
def test_every_form_of_grey_images_gives_the_same_features(encoder, pixels, form):
    encoder.set_params(image_shape=(H, -1))
    grey = pixels[..., 0]
    X = GREY_FORMS[form](grey)
    np.testing.assert_array_equal(encoder.transform(X), encoder.transform(grey))


def test_images_of_any_size_and_mode_are_read(encoder, pixels):
    image = Image.fromarray(pixels[0])
    modes = ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "I;16"]
    images = [image.convert("L" if m == "I;16" else m).convert(m) for m in modes]
    images += [image.resize((90, 33)), image.crop((0, 0, 5, 7))]
    features = encoder.transform(images)
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(features[4], encoder.transform([image])[0])


def test_transparent_palette_is_read_without_a_warning(encoder, pixels, tmp_path):
    image = Image.fromarray(pixels[0]).convert("P")
    image.save(tmp_path / "palette.png", transparency=b"\x00\x80")
    features = encoder.transform([tmp_path / "palette.png", image.convert("RGB")])
    np.testing.assert_array_equal(features[0], features[1])


def test_camera_rotation_is_obeyed(encoder, pixels, tmp_path):
    image = Image.fromarray(pixels[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: turn by 270 degrees to see it
    image.save(tmp_path / "turned.png", exif=exif)
    upright = encoder.transform([image.transpose(Image.Transpose.ROTATE_270)])
    read = [tmp_path / "turned.png", Image.open(tmp_path / "turned.png")]
    np.testing.assert_array_equal(encoder.transform(read), np.repeat(upright, 2, 0))


def test_value_range_maps_black_and_white(encoder, pixels):
    expected = encoder.transform(pixels)
    deep = pixels.astype(np.float64) / 255 * 20 - 10
    encoder.set_params(value_range=(-10, 10))
    np.testing.assert_array_equal(encoder.transform(deep), expected)
    modes = [Image.fromarray(deep[0, :, :, 0].astype(np.float32))]
    grey = encoder.set_params(value_range=None).transform(pixels[:1, :, :, 0])
    encoder.set_params(value_range=(-10, 10))
    np.testing.assert_array_equal(encoder.transform(modes), grey)


def test_files_are_opened_one_block_at_a_time(encoder, paths, monkeypatch):
    encoder.fit(paths)
    opened, held = Image.open, []
    monkeypatch.setattr(Image, "open", lambda p: held.append(p) or opened(p))
    blocks, encode = [], type(encoder)._encode

    def spy(self, *args):
        blocks.append(len(held))
        return encode(self, *args)

    monkeypatch.setattr(type(encoder), "_encode", spy)
    encoder.transform(paths)
    assert blocks == [4, N]


# --- errors -------------------------------------------------------------------------


def spoil(value, dtype=np.float64):
    """Flat grey float images, with one pixel of row 2 set to `value`."""
    images = np.full((4, H, W, 3), 0.5, dtype=dtype)
    images[2, 1, 1, 1] = value
    return images


ERRORS = {
    "missing file": (
        lambda p: [p[0], "no.png"],
        FileNotFoundError,
        r"row 1: there is no file 'no.png'.*drop the row",
    ),
    "folder": (lambda p: [p[0].parent], FileNotFoundError, "row 0: there is no file"),
    "None": (lambda p: [p[0], None], TypeError, r"row 1 is None.*Give a path"),
    "NaN path": (lambda p: pd.Series([np.nan, str(p[0])]), TypeError, "row 0 is nan"),
    "bytes": (lambda p: [b"abc"], TypeError, "row 0 is b'abc' of type bytes"),
    "one path": (lambda p: str(p[0]), TypeError, r"one image.*\[X\]"),
    "one PIL image": (lambda p: Image.new("L", (9, 9)), TypeError, r"one image.*\[X\]"),
    "empty list": (lambda p: [], ValueError, "holds no image"),
    "no images": (lambda p: np.empty((0, 9, 9, 3)), ValueError, r"\(0, 9, 9, 3\)"),
    "NaN": (lambda p: spoil(np.nan), ValueError, "row 2 .* NaN.*drop the row"),
    "inf": (lambda p: spoil(np.inf), ValueError, "row 2 .*value inf"),
    "NaN in rows": (
        lambda p: spoil(np.nan).reshape(4, -1),
        ValueError,
        "row 2 .* NaN.*drop the row",
    ),
    "float above 1": (
        lambda p: spoil(254.0),
        ValueError,
        r"row 2 .*254.0, outside \[0, 1\].*value_range",
    ),
    "negative": (lambda p: spoil(-1, int), ValueError, r"-1, outside \[0, 255\]"),
    "value in a list": (lambda p: list(spoil(2.0)), ValueError, "row 2 .*value 2.0"),
    "NaN in a list": (lambda p: list(spoil(np.nan)), ValueError, "row 2 .* NaN"),
    "one colour image": (lambda p: spoil(0)[0], ValueError, r"single image by X\[None"),
    "channels first array": (
        lambda p: np.zeros((2, 3, H, W)),
        ValueError,
        r"\(2, 3, 40, 48\).*X.transpose\(0, 2, 3, 1\)",
    ),
    "channels last tensor": (
        lambda p: torch.zeros(2, H, W, 3),
        ValueError,
        r"\(2, 40, 48, 3\).*X.permute\(0, 3, 1, 2\)",
    ),
    "tensor of three axes": (lambda p: torch.zeros(3, H, W), ValueError, "X.:, None"),
    "item shape": (
        lambda p: [np.zeros((H, W)), np.zeros((2, H, W))],
        ValueError,
        r"row 1 has shape \(2, 40, 48\).*\(h, w, 3\)",
    ),
    "complex": (lambda p: np.zeros((2, H, W), complex), ValueError, "dtype complex"),
    "mode F": (
        lambda p: [Image.fromarray(np.zeros((9, 9), np.float32))],
        ValueError,
        "row 0 .*mode 'F'.*value_range",
    ),
    "wrong columns": (
        lambda p: np.zeros((2, 30)),
        ValueError,
        r"30 numbers.*image_shape=\(40, 48, 3\)",
    ),
    "1-D numbers": (lambda p: np.zeros(30), ValueError, "Expected 2D array"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_bad_images_are_refused_with_row_value_and_remedy(encoder, paths, case):
    make, error, message = ERRORS[case]
    encoder.set_params(image_shape=(H, W, 3))
    with pytest.raises(error, match=message):
        encoder.transform(make(paths))


@pytest.mark.parametrize("cut", [10, 300], ids=["unknown format", "truncated"])
def test_unreadable_file_is_named(encoder, paths, tmp_path, cut):
    broken = tmp_path / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"row 5: .*broken.png' cannot .*Replace"):
        encoder.transform([*paths[:5], broken])


def test_truncated_pil_image_is_named(encoder, paths, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:300])
    with Image.open(broken) as image:
        with pytest.raises(ValueError, match=r"row 1: .*cannot be read.*truncated"):
            encoder.transform([paths[0], image])


@pytest.mark.parametrize(
    ("n_columns", "hint"),
    [(64, r"\(8, 8, 1\)"), (3072, r"\(32, 32, 3\)"), (65, r"3\)")],
)
def test_rows_without_image_shape_are_refused(encoder, n_columns, hint):
    with pytest.raises(ValueError, match=rf"{n_columns} numbers.*image_shape=.*{hint}"):
        encoder.fit(np.zeros((2, n_columns)))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 2.0}, "batch_size=2.0"),
        ({"precision": "half"}, "precision='half': choose one of"),
        ({"device": "nowhere"}, "device='nowhere' cannot be used"),
        ({"image_shape": 32}, "image_shape=32"),
        ({"image_shape": (3, 32, 32)}, "channels first need"),
        ({"image_shape": (-1, -1)}, "image_shape="),
        ({"image_shape": (0, 5)}, "image_shape="),
        ({"value_range": (1, 0)}, "value_range=.*black below white"),
        ({"value_range": 255}, "value_range=255"),
        ({"value_range": (0, np.inf)}, "value_range="),
    ],
)
def test_bad_parameters_are_refused(encoder, pixels, params, message):
    with pytest.raises(ValueError, match=message):
        encoder.set_params(**params).fit(pixels)


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


def test_model_with_missing_weights_is_refused(clip_folder, pixels, tmp_path):
    model = transformers.CLIPModel.from_pretrained(clip_folder)
    weights = {k: v for k, v in model.state_dict().items() if "visual_proj" not in k}
    model.save_pretrained(tmp_path, state_dict=weights)
    processor_class().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks weights.*visual_projection.weight"):
        CLIPFeatures(tmp_path).fit(pixels)


# --- scikit-learn -------------------------------------------------------------------


@parametrize_with_checks(
    [
        # Rows of any length are one pixel high, and black is -200. The checks' own
        # numbers then are images, and nothing needs to be excused.
        CLIPFeatures(image_shape=(1, -1), value_range=(-200, 200), batch_size=8),
        CLIPFeatures(image_shape=(-1, 1), value_range=(0, 200), batch_size=8),
    ]
)
def test_sklearn_estimator_checks(estimator, check, squash_folder):
    check(clone(estimator).set_params(model=str(squash_folder), device="cpu"))


def test_tags_say_what_x_may_be():
    tags = get_tags(CLIPFeatures()).input_tags
    assert (tags.two_d_array, tags.string, tags.three_d_array) == (False, True, True)
    tags = get_tags(CLIPFeatures(image_shape=(8, 8))).input_tags
    assert (tags.two_d_array, tags.positive_only) == (True, True)
    assert not get_tags(CLIPFeatures(value_range=(-1, 1))).input_tags.positive_only


def test_columns_are_remembered_for_rows_only(encoder, pixels):
    encoder.set_params(image_shape=(H, W, 3))
    frame = table(pixels.reshape(N, -1))
    encoder.fit(frame)
    assert encoder.n_features_in_ == H * W * 3
    assert list(encoder.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        encoder.transform(frame.iloc[:, :30])
    encoder.fit(pixels)
    assert not hasattr(encoder, "n_features_in_")
    assert not hasattr(encoder, "feature_names_in_")
    assert encoder.n_features_out_ == WIDTH


@pytest.mark.parametrize("fitted", [True, False])
def test_set_output_names_the_columns(encoder, paths, fitted):
    encoder.set_output(transform="pandas")
    frame = (encoder.fit(paths) if fitted else encoder).transform(paths)
    assert list(frame.columns) == [f"clipfeatures{j}" for j in range(WIDTH)]
    assert (frame.dtypes == np.float32).all()
    assert isinstance(
        encoder.set_output(transform="polars").transform(paths), pl.DataFrame
    )


@pytest.fixture(scope="session")
def coloured():
    """Red and blue noise, which even a random network tells apart."""
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    images = rng.integers(0, 80, (24, 16, 16, 3), dtype=np.uint8)
    images[np.arange(24), :, :, y * 2] += 150
    return images, np.array(["red", "blue"])[y]


@pytest.mark.parametrize("form", ["rows", "array", "PIL images"])
def test_pipeline_and_grid_search(encoder, coloured, form):
    images, y = coloured
    X = {
        "rows": images.reshape(24, -1),
        "array": images,
        "PIL images": [Image.fromarray(image) for image in images],
    }[form]
    encoder.set_params(image_shape=(16, 16, 3), batch_size=16)
    pipeline = Pipeline([("enc", encoder), ("clf", LogisticRegression(C=100))])
    search = GridSearchCV(pipeline, {"clf__C": [1, 100]}, cv=2).fit(X, y)
    assert search.best_score_ == 1
    restored = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(restored.predict(X), y)
    np.testing.assert_array_equal(cross_val_predict(pipeline, X, y, cv=2), y)


def test_pipeline_memory_computes_features_once(encoder, coloured, loads, tmp_path):
    images, y = coloured
    pipeline = make_pipeline(encoder, LogisticRegression(), memory=str(tmp_path))
    predicted = pipeline.fit(images, y).predict(images)
    assert len(loads) == 1
    again = clone(pipeline).set_params(logisticregression__C=3).fit(images, y)
    assert len(loads) == 1  # the features came from the cache
    np.testing.assert_array_equal(again.predict(images), predicted)


def test_column_of_paths_in_a_column_transformer(encoder, paths):
    frame = pd.DataFrame({"path": paths, "age": np.arange(N)})
    both = make_column_transformer((encoder, "path"), ("passthrough", ["age"]))
    features = both.fit_transform(frame)
    np.testing.assert_array_equal(features[:, :WIDTH], encoder.transform(paths))
    assert both.get_feature_names_out()[0] == "clipfeatures__clipfeatures0"


def test_clip_features_and_ddmp_in_a_pipeline_and_a_search(encoder, coloured):
    images, y = coloured
    sets = [frozenset({label}) for label in y]
    sets[::5] = [frozenset({"red", "blue"})] * len(sets[::5])
    encoder.set_params(batch_size=16)
    clf = DDMPClassifier(max_epochs=20, random_state=0)
    pipeline = Pipeline([("enc", encoder), ("clf", clf)])
    assert np.mean(pipeline.fit(images, sets).predict(images) == y) > 0.9
    search = GridSearchCV(pipeline, {"clf__gamma": [0, 0.3]}, cv=2).fit(images, sets)
    assert search.best_score_ > 0.9
    restored = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(
        restored.predict_proba(images), search.predict_proba(images)
    )
