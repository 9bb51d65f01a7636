"""A tiny random CLIP on disk and a few images in memory and in files."""

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from sklabeldiff.features import CLIPFeatures

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
    make_processor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def squash_folder(clip_folder, tmp_path_factory):
    """Folder of the same CLIP, whose processor squashes images to a square."""
    folder = tmp_path_factory.mktemp("squash")
    model = transformers.CLIPModel.from_pretrained(clip_folder)
    model.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    make_processor(size=size, do_center_crop=False).save_pretrained(folder)
    return folder


def make_processor(**kwargs):
    cls = getattr(transformers, "CLIPImageProcessorPil", None)
    defaults = {
        "size": {"shortest_edge": 32},
        "crop_size": {"height": 32, "width": 32},
    }
    return (cls or transformers.CLIPImageProcessor)(**(defaults | kwargs))


@pytest.fixture
def processor_class():
    """CLIP's image processor for images of 32 pixels, made with other arguments."""
    return make_processor


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
