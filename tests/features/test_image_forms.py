"""Images in every form that users hold, and what is refused."""

import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image

from sklabeldiff.features._images import ArrayImages, ListImages, stack_pixels

N, H, W = 7, 40, 48


def table(values):
    """Flattened rows as a DataFrame with named columns."""
    return pd.DataFrame(values).add_prefix("pixel")


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
    "column of paths": lambda x, p: np.array(p, dtype=object)[:, None],
    "column of str paths": lambda x, p: np.array([[str(path)] for path in p]),
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
    "channels first": lambda x, p: x.transpose(0, 3, 1, 2),
    "floats, channels first": lambda x, p: x.transpose(0, 3, 1, 2) / 255,
    "tensor, channels last": lambda x, p: torch.from_numpy(x),
    "list of arrays, channels first": lambda x, p: list(x.transpose(0, 3, 1, 2)),
    "iterator over images": lambda x, p: iter([*x[:3], *p[3:]]),
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


class ImageDataset:
    """As of torch: a length and an index, nothing else."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, row):
        return self.images[row]


STREAMS = {
    "generator": lambda x: (Image.fromarray(image) for image in x),
    "batches of arrays": lambda x: iter([x[:4], x[4:]]),
    "batches of tensors": lambda x: iter(torch.from_numpy(x).permute(0, 3, 1, 2)[None]),
    "torch Dataset": ImageDataset,
}


@pytest.mark.parametrize("form", STREAMS)
def test_streams_give_the_same_features_in_order(encoder, pixels, monkeypatch, form):
    monkeypatch.setattr("sklabeldiff.features._image_base.PART_ROWS", 3)
    expected = encoder.transform(pixels)
    stream = STREAMS[form](pixels)
    np.testing.assert_array_equal(encoder.fit_transform(stream), expected)


def test_stream_is_read_as_the_features_are_computed(encoder, pixels, monkeypatch):
    monkeypatch.setattr("sklabeldiff.features._image_base.PART_ROWS", 2)
    module = encoder.set_params(batch_size=2).fit(pixels)._encoder().module
    drawn, seen = [], []
    module.register_forward_pre_hook(lambda *_: seen.append(len(drawn)))
    encoder.transform(drawn.append(1) or image for image in pixels)
    assert seen == [2, 4, 6, 7]


def test_bad_item_of_a_stream_is_named_by_its_row(encoder, pixels, monkeypatch):
    monkeypatch.setattr("sklabeldiff.features._image_base.PART_ROWS", 3)
    with pytest.raises(TypeError, match=r"(?s)row 5 is \(.*Of pairs, give the images"):
        encoder.transform(iter([*pixels[:5], (pixels[5], 1)]))


def test_empty_stream_is_refused(encoder):
    with pytest.raises(ValueError, match="holds no row"):
        encoder.transform(iter([]))


def test_memory_map_stays_on_disk(encoder, pixels, tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, pixels)
    mapped = np.load(path, mmap_mode="r")
    encoder.fit(mapped)
    source = next(encoder._sources(mapped, reset=False)[0])
    assert np.shares_memory(source._array, mapped)
    features = encoder.transform(mapped)
    np.testing.assert_array_equal(features, encoder.transform(pixels))


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


def test_files_are_opened_a_few_blocks_ahead(encoder, paths, monkeypatch):
    encoder.fit(paths).set_params(batch_size=1)
    opened, held = Image.open, []
    monkeypatch.setattr(Image, "open", lambda p: held.append(p) or opened(p))
    monkeypatch.setattr(ListImages, "check", lambda self, rows: None)
    module = encoder._encoder().module
    seen = []
    module.register_forward_pre_hook(lambda *_: seen.append(len(held)))
    encoder.transform(paths)
    assert seen[0] <= 2  # one thread: the block that is run, and the next one
    assert len(held) == len(paths)


def test_one_lazily_opened_image_is_read_by_many_threads(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    for _ in range(5):
        with Image.open(tmp_path / "noise.png") as image, ThreadPoolExecutor(4) as pool:
            source = ListImages([image] * 6, None)
            read = list(pool.map(lambda row: source.items([row])[0], range(6)))  # noqa: B023
        for pixels in read:
            np.testing.assert_array_equal(pixels, noise)


def test_images_of_one_size_are_stacked(pixels):
    items = [Image.fromarray(image) for image in pixels]
    np.testing.assert_array_equal(stack_pixels(items, range(N), 0), pixels)


def test_images_of_several_sizes_are_named_by_their_rows(pixels):
    items = [Image.fromarray(image) for image in [*pixels[:2], pixels[2][:20]]]
    with pytest.raises(
        ValueError, match=r"row 15 is .*\(20, 48\) pixels, row 11 one of \(40, 48\)"
    ):
        stack_pixels(items, np.array([1, 3, 5]), first_row=10)


# --- keys ---------------------------------------------------------------------------


def test_same_bytes_of_another_shape_have_another_key(pixels):
    values = pixels.ravel()[: 8 * 8 * 3]
    wide, square = values.reshape(1, 4, 16, 3), values.reshape(1, 8, 8, 3)
    keys = [ArrayImages(image, None).keys()[0] for image in (wide, square, wide)]
    assert keys[0] == keys[2]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_file_seen_in_another_value_range_has_another_key(tmp_path, dtype):
    path = tmp_path / "deep.tiff"
    Image.fromarray(np.arange(64, dtype=dtype).reshape(8, 8)).save(path)
    ranges = [(0, 100), (0, 200), (0, 100)]
    keys = [ListImages([path], value_range).keys()[0] for value_range in ranges]
    assert keys[0] == keys[2]
    assert keys[0] != keys[1]


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
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"on_error": "skip"}, "on_error must be one of"),
        ({"cache_dtype": "int8"}, "cache_dtype must be one of"),
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
