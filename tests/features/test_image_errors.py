"""Images that are refused, by row, value and mend, before any work."""

import struct

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone

from sklabeldiff.features._images import ListImages

H, W = 40, 48


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
    "five channels": (
        lambda p: np.zeros((2, 5, H, W)),
        ValueError,
        r"\(2, 5, 40, 48\).*\(n, h, w, 3\) or \(n, 3, h, w\)",
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
    "iterator over numbers": (lambda p: iter([1.0]), TypeError, "row 0 is 1.0"),
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


def damage(path, image, kind):
    """Save an image as a file that opens, but cannot be read to its end."""
    path = path.with_suffix("." + kind.split()[-1])
    Image.fromarray(image).save(path)
    content = bytearray(path.read_bytes())
    if kind.startswith("truncated"):
        del content[len(content) // 2 :]
    elif kind == "damaged jpeg":  # a Huffman table; both ends are as they should be
        content[content.index(b"\xff\xc4") + 5] = 255
    else:
        content[len(content) // 2] ^= 255
    path.write_bytes(content)
    return path


@pytest.fixture
def idle(encoder, pixels):
    """Encoder whose network must not run."""
    module = encoder.fit(pixels)._encoder().module
    module.register_forward_pre_hook(lambda *_: pytest.fail("the network runs"))
    return encoder


@pytest.mark.parametrize(
    "kind",
    [
        "truncated png",
        "damaged png",
        "truncated jpeg",
        "damaged jpeg",
        "truncated bmp",
    ],
)
@pytest.mark.parametrize("cached", [False, True])
def test_damaged_file_is_named_before_the_network_runs(
    idle, pixels, paths, tmp_path, kind, cached
):
    idle.set_params(cache_dir=tmp_path / "cache" if cached else None)
    broken = damage(tmp_path / "broken", pixels[0], kind)
    with pytest.raises(
        ValueError, match=r"row 7: .*broken\..* cannot be read.*Replace"
    ):
        idle.transform([*paths, broken])


@pytest.mark.parametrize("as_pil", [False, True], ids=["file", "PIL"])
@pytest.mark.parametrize(
    ("values", "mode"), [(np.float32([[0.5]]), "F"), (np.int32([[70]]), "I")]
)
def test_unknown_value_range_is_refused_before_the_network_runs(
    idle, paths, tmp_path, values, mode, as_pil
):
    path = tmp_path / "deep.tiff"
    Image.fromarray(np.tile(values, (H, W))).save(path)
    message = rf"^row 7 is a PIL image of mode '{mode}'.*Pass value_range"
    with Image.open(path) as image, pytest.raises(ValueError, match=message):
        idle.transform([*paths, image if as_pil else path])


def test_values_of_a_file_are_checked_before_the_network_runs(idle, paths, tmp_path):
    path = tmp_path / "deep.tiff"
    Image.fromarray(np.full((H, W), 2, np.float32)).save(path)
    idle.set_params(value_range=(0, 1))
    with pytest.raises(ValueError, match=r"row 7 has a pixel of value 2.0, outside"):
        idle.transform([*paths, path])


def test_unknown_value_range_is_refused_by_the_header(tmp_path):
    path = tmp_path / "deep.tiff"
    Image.fromarray(np.zeros((H, W), np.float32)).save(path)
    path.write_bytes(path.read_bytes()[:-100])  # decoding would fail
    with pytest.raises(ValueError, match=r"mode 'F'.*Pass value_range"):
        ListImages([path], None).check([0])


def test_format_that_pillow_lacks_is_named(paths, tmp_path):
    size = struct.pack("<7I", 124, 0x1007, 8, 8, 32, 0, 0)
    layout = struct.pack("<II4s5I", 32, 4, b"ABCD", 0, 0, 0, 0, 0)
    path = tmp_path / "strange.dds"
    path.write_bytes(b"DDS " + size + bytes(44) + layout + bytes(120))
    with pytest.raises(ValueError, match=r"row 1: .*strange.dds' cannot be read"):
        ListImages([paths[0], path], None).check([0, 1])


def failing(error):
    """Stand-in for `Image.open`."""

    def fail(path):
        raise error

    return fail


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, struct.error])
def test_whatever_a_reader_raises_is_named(paths, monkeypatch, error):
    monkeypatch.setattr(Image, "open", failing(error("odd")))
    with pytest.raises(ValueError, match=r"row 0: .*0.png' cannot .*\(odd\).*Replace"):
        ListImages(paths, None).check([0])


@pytest.mark.parametrize("error", [ImportError, MemoryError])
def test_what_is_not_the_fault_of_a_file_is_not_blamed_on_it(paths, monkeypatch, error):
    monkeypatch.setattr(Image, "open", failing(error("odd")))
    with pytest.raises(error, match=r"^odd$"):
        ListImages(paths, None, bad_rows={}).check([0])


def test_decompression_bomb_is_named(paths, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", H * W // 2 - 1)
    with pytest.raises(ValueError, match=r"row 0: .*0.png' cannot .*bomb.*Replace"):
        ListImages(paths, None).check([0])


def test_a_bad_row_after_a_bad_first_row(encoder):
    """The first row alone tells the width: rows that are bad do not count there."""
    grey, empty = np.zeros((H, W, 3), np.uint8), np.zeros((0, H, W, 3), np.uint8)
    X = [Image.new("I", (W, H)), grey, empty]
    with pytest.warns(UserWarning, match="2 rows of X cannot be read"):
        features = clone(encoder).set_params(on_error="nan").fit_transform(X)
    assert np.isnan(features).all(axis=1).tolist() == [True, False, True]


@pytest.mark.parametrize("X", [np.float16(1), np.array(None), torch.tensor(1)])
def test_a_scalar_is_no_collection(encoder, X):
    with pytest.raises(TypeError, match="no collection of images"):
        encoder.transform(X)


def test_a_pil_image_without_pixels_is_named(encoder):
    with pytest.raises(ValueError, match="row 0 is a PIL image without pixels"):
        encoder.transform([Image.new("I;16", (0, 4))])


def test_ragged_numbers_are_no_images(encoder):
    with pytest.raises(ValueError, match="X is a ragged list of numbers"):
        encoder.transform([[0.5], [0.5, 0.1]])


def test_truncated_pil_image_is_named_before_the_network_runs(idle, paths, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(paths[0].read_bytes()[:300])
    with Image.open(broken) as image:
        with pytest.raises(ValueError, match=r"row 7: .*cannot be read.*truncated"):
            idle.transform([*paths, image])


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
        ({"batch_size": 0}, "batch_size must be at least 1 and at most 65536, got 0"),
        ({"batch_size": 2**31}, "batch_size must be .* at most 65536, got 2147483648"),
        ({"on_error": "skip"}, "on_error must be one of"),
        ({"cache_dtype": "int8"}, "cache_dtype must be one of"),
        ({"precision": "half"}, "precision must be one of"),
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
