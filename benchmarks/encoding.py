"""Throughput of the image features against a loop written by hand, in one run.

Both have the same network, preprocessing, batch and images; they take turns. What the
cache costs on the first pass, and saves on the second, stands beside.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image

from benchmarks.image_features import Encoder, read
from benchmarks.report import markdown, provenance, publish
from sklabeldiff.features import CLIPFeatures, TorchFeatures

TARGET = 0.9  # of the images a second of the loop by hand
REPEATS = 5
BATCH = 32
Encode = Callable[[Any], NDArray[np.float32]]


@dataclass(frozen=True)
class Case:
    """An extractor, the same by hand, and what both encode."""

    name: str
    ours: Any
    by_hand: Encode
    images: Any


def add_arguments(sub: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    sub.add_argument("--threads", type=int, default=2, metavar="N")


def main(args: argparse.Namespace, command: str) -> int:
    """Measure, print and save the table; returns 1 if the target is missed."""
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(case, Path(folder)) for case in cases(Path(folder), device)]
    head = [
        "network",
        "images",
        "by hand, images/s",
        "ours, images/s",
        "ours / by hand",
    ]
    head += ["with an empty cache", "out of the cache"]
    text = "\n".join(
        [
            "# Throughput of image features",
            "",
            *provenance(command, f"0; {args.threads} threads, device {device}"),
            "",
            f"Medians of {REPEATS} turns, blocks of {BATCH}. The last three columns "
            "are ratios of images a second to the loop by hand; the first of them is "
            f"to be {TARGET:g} at least.",
            "",
            *markdown(head, [cells for cells, _ in rows]),
        ]
    )
    publish(text, args.save)
    return int(min(ratio for _, ratio in rows) < TARGET)


def cases(folder: Path, device: str) -> list[Case]:
    """CLIP on colour images, a convolutional network on grey ones and on files."""
    grey, _ = read("t10k", 512)
    colour = np.repeat(grey[:128, ..., None], 3, axis=-1)
    precision = "bfloat16" if device == "cuda" else "float32"
    params = {"device": device, "precision": precision, "batch_size": BATCH}
    clip = CLIPFeatures(save_clip(folder / "clip"), **params)
    network = Encoder()
    return [
        Case(
            "CLIP ViT-B/32, 224 px, random weights",
            clip,
            clip_by_hand(folder / "clip", device, precision),
            colour,
        ),
        Case(
            "MobileNetV2, 128 px",
            TorchFeatures(network, **params),
            torch_by_hand(network, device, precision),
            np.repeat(grey[..., None], 3, axis=-1),
        ),
        Case(
            "MobileNetV2, JPEG files of 256 px, resized to 128 px",
            TorchFeatures(network, half_size, **params),
            files_by_hand(network, device, precision),
            save_files(grey[:256], folder),
        ),
    ]


def half_size(image: Any) -> torch.Tensor:
    """PIL image -> tensor (3, h / 2, w / 2) from 0 to 1."""
    small = image.resize((image.width // 2, image.height // 2))
    pixels = torch.from_numpy(np.asarray(small, dtype=np.float32) / 255)
    return pixels.permute(2, 0, 1)


def save_files(images: NDArray[np.uint8], folder: Path) -> list[Path]:
    """Write enlarged images as JPEG files."""
    paths = [folder / f"{row}.jpg" for row in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).resize((256, 256)).convert("RGB").save(path)
    return paths


def save_clip(folder: Path) -> Path:
    """Write CLIP ViT-B/32 with random weights and its image processor."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.CLIPModel(transformers.CLIPConfig()).save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


def processor() -> Any:
    cls = getattr(transformers, "CLIPImageProcessorPil", None)
    return (cls or transformers.CLIPImageProcessor)()


def clip_by_hand(folder: Path, device: str, precision: str) -> Encode:
    """Write the loop that everybody writes with transformers."""
    dtype = getattr(torch, precision)
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(folder)
    model, prepare = model.to(device, dtype).eval(), processor()

    def encode(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(images), BATCH):
            block = [Image.fromarray(image) for image in images[start : start + BATCH]]
            pixels = prepare(images=block, return_tensors="pt").pixel_values
            with torch.inference_mode():
                out = model(pixel_values=pixels.to(device, dtype)).image_embeds
                out = torch.nn.functional.normalize(out.float(), dim=-1)
            parts.append(out.cpu().numpy())
        return np.concatenate(parts)

    return encode


def torch_by_hand(network: Any, device: str, precision: str) -> Encode:
    """Write the plain loop over an array."""
    dtype = getattr(torch, precision)
    model = network.to(device, dtype).eval()

    def encode(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(images), BATCH):
            block = torch.from_numpy(images[start : start + BATCH]).to(device)
            with torch.inference_mode():
                out = model(block.permute(0, 3, 1, 2).to(dtype) / 255)
            parts.append(out.float().cpu().numpy())
        return np.concatenate(parts)

    return encode


def files_by_hand(network: Any, device: str, precision: str) -> Encode:
    """Write the plain loop over files."""
    dtype = getattr(torch, precision)
    model = network.to(device, dtype).eval()

    def encode(paths: list[Path]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(paths), BATCH):
            block = [Image.open(path) for path in paths[start : start + BATCH]]
            pixels = torch.stack([half_size(image.convert("RGB")) for image in block])
            with torch.inference_mode():
                out = model(pixels.to(device, dtype))
            parts.append(out.float().cpu().numpy())
        return np.concatenate(parts)

    return encode


def measure(case: Case, folder: Path) -> tuple[list[str], float]:
    """Time all in turn. -> cells of the table, our ratio."""
    ours = case.ours.fit(case.images)
    expected = case.by_hand(case.images)  # warms up
    np.testing.assert_allclose(ours.transform(case.images), expected, atol=1e-2)
    seconds: dict[str, list[float]] = {
        name: [] for name in ("hand", "ours", "cold", "warm")
    }
    for turn in range(REPEATS):
        cache = folder / f"cache{turn}"
        ways: dict[str, Encode] = {
            "hand": case.by_hand,
            "ours": ours.set_params(cache_dir=None).transform,
        }
        for name, encode in ways.items():
            seconds[name].append(timed(encode, case.images))
        ours.set_params(cache_dir=cache)
        for name in ("cold", "warm"):
            seconds[name].append(timed(ours.transform, case.images))
    rate = {name: len(case.images) / median(times) for name, times in seconds.items()}
    ratios = {name: rate[name] / rate["hand"] for name in ("ours", "cold", "warm")}
    figures = [f"{rate['hand']:.1f}", f"{rate['ours']:.1f}"]
    figures += [f"{ratio:.2f}" for ratio in ratios.values()]
    return [case.name, str(len(case.images)), *figures], ratios["ours"]


def timed(encode: Encode, images: Any) -> float:
    start = time.perf_counter()
    encode(images)
    return time.perf_counter() - start
