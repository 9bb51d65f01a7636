"""Images of any kind, and files of strangers: features of numbers, or an error."""

import io
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sklabeldiff.features import TorchFeatures

from .conftest import CASES, n_cases
from .contract import REFUSED, outcome
from .strategies import ODDITIES, laid_out
from .test_loading import changed
from .test_parameters import Means

pytestmark = pytest.mark.filterwarnings("ignore")

DTYPES = ["u1", "u1", "f4", "f8", "f2", "i8", "u2", bool, object, "c8", "U3"]
MODES = ["L", "RGB", "RGBA", "P", "1", "LA", "CMYK", "I;16", "I", "F", "HSV", "YCbCr"]
FORMATS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO", "TGA"]


@st.composite
def arrays(draw):
    """Draw an array of images, or of something else."""
    shapes = [(3, 8, 8, 3), (3, 8, 8), (3, 3, 8, 8), (3, 1, 8, 8), (3, 8, 8, 4)]
    shapes += [(0, 8, 8, 3), (3, 0, 8, 3), (8, 8), (3, 192), (3, 8, 8, 2), (3, 1, 1, 3)]
    shapes += [(8,), (), (2, 3, 8, 8, 3), (3, 1, 2, 3)]
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    dtype = draw(st.sampled_from(DTYPES))
    scale = 1 if dtype in ("f4", "f8", "f2", bool) else 255
    X = rng.random(draw(st.sampled_from(shapes))) * scale
    X = np.asarray(X).astype(dtype)
    if X.size and draw(st.integers(0, 3)) == 0:
        try:
            X.flat[draw(st.integers(0, X.size - 1))] = draw(ODDITIES)
        except (TypeError, ValueError, OverflowError):
            pass  # this dtype cannot hold it
    return laid_out(draw, X) if X.ndim else X


@st.composite
def single(draw):
    """Draw one image, or what is none."""
    kind = draw(st.sampled_from(["array", "tensor", "pil", "odd", "missing file"]))
    X = draw(arrays())
    if kind == "array":
        return X[0] if X.ndim and len(X) else X
    if kind == "tensor":
        return torch.rand(draw(st.sampled_from([(3, 8, 8), (1, 8, 8), (8, 8), (8,)])))
    if kind == "pil":
        mode = draw(st.sampled_from(MODES))
        size = draw(st.sampled_from([(8, 8), (1, 1), (9, 3), (0, 4)]))
        return Image.new(mode, size)
    return draw(ODDITIES) if kind == "odd" else "/no/such/file.png"


def check_features(X, **params):
    """What an encoder owes."""
    encoder = TorchFeatures(Means(), batch_size=2, **params)
    try:
        found = outcome(encoder.fit_transform, X)
    except FileNotFoundError as error:
        assert "there is no file" in str(error)
        return
    if found is REFUSED:
        return
    assert found.ndim == 2
    if params.get("on_error") == "nan":
        assert (np.isfinite(found).all(1) | np.isnan(found).all(1)).all()
    else:
        assert np.isfinite(found).all()


RANGES = st.sampled_from([None, None, (0, 255), (-1, 1), (0, 1e-300)])
SHAPES = st.sampled_from([None, None, (8, 8), (8, 8, 3), (-1, 8), (4, 4, 3)])


@n_cases(60, 6000)
@given(arrays(), RANGES, SHAPES, st.sampled_from(["raise", "nan"]))
def test_arrays(X, value_range, shape, on_error):
    CASES["function images"] += 1
    form = X.tolist() if X.size and X.dtype == object else X
    params = {"value_range": value_range, "image_shape": shape, "on_error": on_error}
    check_features(form, **params)


@n_cases(40, 4000)
@given(st.lists(single(), max_size=4), RANGES, st.sampled_from(["raise", "nan"]))
def test_lists(X, value_range, on_error):
    CASES["function images"] += 1
    check_features(X, value_range=value_range, on_error=on_error)
    check_features(iter(X), value_range=value_range, on_error=on_error)


@cache
def sound(kind):
    """Bytes of a small sound file."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


@n_cases(60, 8000)
@given(st.sampled_from(FORMATS), st.sampled_from(["raise", "nan"]), st.data())
def test_files(tmp_path_factory, kind, on_error, data):
    CASES["function image files"] += 1
    path = tmp_path_factory.getbasetemp() / "image"
    path.write_bytes(changed(data, sound(kind)))
    check_features([path], on_error=on_error)
