"""Images in every form that users hold."""

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
    expected = np.vstack([encoder.transform(image[None]) for image in pixels])
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
