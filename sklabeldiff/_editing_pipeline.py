"""InstructPix2Pix as diffusers has it: loaded whole and checked, run block by block.

Pictures come and go as arrays. Which of them are edited, and what becomes of them, is
not decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from os import PathLike
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sklabeldiff._optional import require
from sklabeldiff.features._transformers import content_of, loading

KIND = "InstructPix2Pix model"
ALGORITHM = "dpmsolver++"
LATENT_SIDE = 8  # pixels along the side of one of Stable Diffusion's latents
PASSES = 3  # through the U-Net a step: with text and image, with the image, with none
# Stable Diffusion's U-Net has 8.6e8 weights and takes 2e11 operations for 32 x 32
# latents; a core does 2.5e10 of them in a second.
OPERATIONS_PER_WEIGHT_AND_LATENT = 0.23
OPERATIONS_PER_SECOND = 2.5e10


@dataclass(frozen=True)
class Settings:
    """What an edit depends on besides picture, prompt, seed and model."""

    guidance_scale: float
    image_guidance_scale: float
    n_steps: int
    image_size: int


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A loaded pipeline of diffusers on its device.

    Parameters
    ----------
    pipe : StableDiffusionInstructPix2PixPipeline
    """

    pipe: Any
    # Its scheduler counts the steps of one block.
    _lock: Any = field(default_factory=Lock)

    def edit(
        self,
        pixels: NDArray[np.uint8],
        prompts: Sequence[str],
        seeds: Sequence[int],
        settings: Settings,
        batch_size: int,
    ) -> NDArray[np.float32]:
        """Edit at most `batch_size` pictures, each with noise from its own seed.

        Parameters
        ----------
        pixels : ndarray of shape (b, height, width, 3)
        prompts, seeds : sequences of length b

        Returns
        -------
        edited : ndarray of shape (b, height, width, 3)
            From 0 to 255, not rounded.

        Notes
        -----
        The block is filled up with copies of the first picture: results of matrix
        products depend on their size in the last bits, so that all have one size.
        """
        n_rows, height, width, _ = pixels.shape
        rows = [*range(n_rows), *[0] * (batch_size - n_rows)]
        images = torch.from_numpy(pixels[rows]).permute(0, 3, 1, 2) / 255
        generators = [torch.Generator().manual_seed(seeds[row]) for row in rows]
        with self._lock, _quiet(require("diffusers", "images")):
            answer = self.pipe(
                prompt=[prompts[row] for row in rows],
                image=_resized(images, (settings.image_size, settings.image_size)),
                num_inference_steps=settings.n_steps,
                guidance_scale=settings.guidance_scale,
                image_guidance_scale=settings.image_guidance_scale,
                generator=generators,
                output_type="pt",
            )
        edited = answer.images[:n_rows].float().cpu()  # (b, 3, s, s)
        if not edited.isfinite().all():
            raise ValueError(
                "The model gives NaN or infinity. Numbers may be too large for half "
                "precision: try precision='float32'."
            )
        edited = 255 * _resized(edited, (height, width))
        return edited.permute(0, 2, 3, 1).numpy()

    def n_tokens(self, prompt: str) -> tuple[int, int]:
        """Length of a prompt, and how long one may be."""
        tokenizer = self.pipe.tokenizer
        with _quiet(require("transformers", "images")):
            tokens = tokenizer(prompt).input_ids
        return len(tokens), tokenizer.model_max_length

    def cpu_seconds(self, n_edits: int, settings: Settings) -> float:
        """Estimate the time of edits on this machine's cores."""
        n_weights = sum(weights.numel() for weights in self.pipe.unet.parameters())
        operations = edit_operations(n_weights, settings)
        return n_edits * operations / OPERATIONS_PER_SECOND / torch.get_num_threads()


def edit_operations(n_weights: int, settings: Settings) -> float:
    """Floating-point operations of an edit by a U-Net like Stable Diffusion's."""
    n_latents = (settings.image_size / LATENT_SIDE) ** 2
    a_pass = OPERATIONS_PER_WEIGHT_AND_LATENT * n_weights * n_latents
    return PASSES * settings.n_steps * a_pass


def model_identity(model: str | PathLike[str], verbose: int) -> str:
    """Name what a model's name or folder holds, without loading it."""
    if Path(model).is_dir():
        return content_of(model, KIND, verbose)
    return _commit_of(str(model), verbose)


@lru_cache(maxsize=32)
def _commit_of(name: str, verbose: int) -> str:
    """Commit of a model on the hub, or the one that was downloaded before."""
    cached_file = require("transformers.utils", "images").cached_file
    with loading(name, KIND, verbose=verbose):
        index = Path(cached_file(name, "model_index.json"))
    return f"{name}@{index.parent.name}"  # .../snapshots/<commit>/model_index.json


def load_pipeline(
    name: str, device: torch.device, dtype: torch.dtype, verbose: int
) -> Pipeline:
    """Load a model with DPM-Solver++ for its scheduler, without a safety checker.

    Part by part: of a pipeline, diffusers fills missing weights with random numbers and
    a missing tokenizer with an empty one, without an error.
    """
    diffusers = require("diffusers", "images")
    transformers = require("transformers", "images")
    require("PIL.Image", "images")
    state = torch.get_rng_state()
    with loading(name, KIND, verbose=verbose), _quiet(diffusers):
        kind = diffusers.StableDiffusionInstructPix2PixPipeline
        text_encoder = _part(transformers.CLIPTextModel, name, "text_encoder")
        tokenizer = transformers.CLIPTokenizer.from_pretrained(
            name, subfolder="tokenizer"
        )
        if len(tokenizer) < text_encoder.config.vocab_size:
            raise OSError(f"its tokenizer is missing or knows {len(tokenizer)} tokens.")
        pipe = kind(
            vae=_part(diffusers.AutoencoderKL, name, "vae"),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=_part(diffusers.UNet2DConditionModel, name, "unet"),
            scheduler=diffusers.DPMSolverMultistepScheduler.from_pretrained(
                name, subfolder="scheduler", algorithm_type=ALGORITHM
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        _check_channels(pipe, name)
        pipe.to(device, dtype)
    # Older diffusers fill a network with random numbers before they read its weights.
    if not torch.equal(state, torch.get_rng_state()):
        torch.set_rng_state(state)
    pipe.set_progress_bar_config(disable=True)
    return Pipeline(pipe)


def _part(kind: Any, name: str, folder: str) -> Any:
    """Load one network of a pipeline, whole."""
    network, report = kind.from_pretrained(
        name, subfolder=folder, output_loading_info=True
    )
    if report["missing_keys"]:
        raise ValueError(
            f"model={name!r} lacks weights of its part {folder!r}: "
            f"{min(report['missing_keys'])!r} and perhaps more. Save the whole "
            "pipeline again."
        )
    return network


def _check_channels(pipe: Any, name: str) -> None:
    """Refuse other models of Stable Diffusion, which see no image."""
    wanted = 2 * pipe.vae.config.latent_channels
    channels = pipe.unet.config.in_channels
    if channels != wanted:
        raise ValueError(
            f"model={name!r} is not an {KIND}: its U-Net takes {channels} channels, "
            f"not {wanted}, of which half show the image to edit. Give one like "
            "'timbrooks/instruct-pix2pix'."
        )


def _resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring whole images to another size. (b, 3, h, w) -> (b, 3, *size)."""
    return functional.interpolate(images, size, mode="bilinear", antialias=True)


@contextmanager
def _quiet(library: ModuleType) -> Iterator[None]:
    """Keep what diffusers or transformers logs from the user's terminal."""
    log = library.utils.logging
    level = log.get_verbosity()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(level)
