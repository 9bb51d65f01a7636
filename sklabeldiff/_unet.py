"""A U-Net that denoises an image for every class at once, as `ClassDenoiser` does rows.

    # u        (b, d)        noisy images as rows: height, width, channels
    # c_noise  (b,)          noise level, ln(sigma) / 4
    # F        (b, K, d)     answer under the condition that the row is of class k
    # E        width of the embedding of noise level and class

The layers are those of diffusers; what is here says how many, draws their first weights
and turns rows into images and back. Classes enter with the noise level, before the
first block: all K conditions of a row cost K whole passes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklabeldiff._image_rows import checked_shape
from sklabeldiff._optional import require
from sklabeldiff._parameters import check_option
from sklabeldiff.core.class_denoisers import FREQUENCIES, select

# diffusers turns its embedding by 1 down to 1e-4 a step of a timestep. c_noise spans 3
# in all: told as it is, it would turn none of them once. Scaled, they turn as fast as
# those of the perceptron. Negative timesteps do as well, sines and cosines have no end.
TIMESTEPS = FREQUENCIES[1]
ATTENTION_SIDE = 16  # pixels; more would cost its square


@dataclass(frozen=True)
class Size:
    """How large a U-Net is.

    Parameters
    ----------
    channels : tuple of int
        Of each level; a level has half the side of the one before.
    n_blocks : int
        Residual blocks on the way down through a level; one more on the way up.
    embedding : int
        E.
    n_groups : int
        Of each group normalisation; divides all `channels`.
    """

    channels: tuple[int, ...]
    n_blocks: int
    embedding: int
    n_groups: int


SIZES = {
    "tiny": Size((8, 8), 1, 32, 4),
    "small": Size((32, 64, 64), 2, 128, 8),  # a sixth of the paper's width, for CPUs
    "paper": Size((256, 256, 256), 4, 512, 32),  # EDM's for 32 x 32
}


class UNet(nn.Module):
    """Images as rows around a U-Net of diffusers, with one answer a class.

    Parameters
    ----------
    image_shape : (height, width, channels)
    n_classes : int
    size : Size

    Notes
    -----
    Its weights have no values yet: `make_unet` draws them.
    """

    block_answers = 64  # images that go through at once when it predicts

    def __init__(
        self, image_shape: tuple[int, int, int], n_classes: int, size: Size
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        # Twice what halving needs: the last level has an even side, and images of 28
        # become 32, whose attention sits at 16 as in the paper.
        self.top, self.bottom = _margins(image_shape[0], 2 ** len(size.channels))
        self.left, self.right = _margins(image_shape[1], 2 ** len(size.channels))
        height = self.top + image_shape[0] + self.bottom
        width = self.left + image_shape[1] + self.right
        self.unet = _backbone((height, width), image_shape[2], size)
        self.classes = nn.Parameter(torch.empty(n_classes, size.embedding))

    def forward(
        self, u: Tensor, c_noise: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """Denoise under each class, or under what `condition` says.

        Parameters
        ----------
        u : Tensor of shape (b, d)
        c_noise : Tensor of shape (b,)
        condition : Tensor of shape (b, K) int64 or (b, K, C) float, optional
            K classes for each row; or K mixtures of classes, whose tokens are averaged.
            None stands for all classes.

        Returns
        -------
        F : Tensor of shape (b, K, d)
        """
        tokens = select(self.classes, condition)  # ([b,] K, E)
        n_conditions = tokens.shape[-2]
        tokens = tokens.expand(len(u), -1, -1).flatten(0, 1)  # (b K, E)
        images = self._images(u).repeat_interleave(n_conditions, 0)  # (b K, ch, H, W)
        timesteps = TIMESTEPS * c_noise.repeat_interleave(n_conditions)
        # EDM's input is a one-hot row times sqrt(C): of variance 1, as a layer's input
        # should be, and learnt at the same pace for any number of classes.
        tokens = math.sqrt(len(self.classes)) * tokens
        (answers,) = self.unet(images, timesteps, tokens, return_dict=False)
        return self._rows(answers).view(len(u), n_conditions, -1)

    def _images(self, u: Tensor) -> Tensor:
        """Channels first, zeros around as around a convolution. (b, d) -> 4-D."""
        images = u.view(-1, *self.image_shape).permute(0, 3, 1, 2)
        return functional.pad(images, (self.left, self.right, self.top, self.bottom))

    def _rows(self, images: Tensor) -> Tensor:
        """Undo `_images`. 4-D -> (b, d)."""
        height, width, _ = self.image_shape
        images = images.narrow(2, self.top, height).narrow(3, self.left, width)
        return images.permute(0, 2, 3, 1).flatten(1)


def make_unet(
    image_shape: Sequence[int], n_classes: int, size: str, generator: torch.Generator
) -> UNet:
    """Build a U-Net for images that come as rows.

    Parameters
    ----------
    image_shape : (height, width) or (height, width, channels)
        Rows are such images, flattened.
    n_classes : int
    size : {"tiny", "small", "paper"}
        "paper" has 56 million weights, "small" 1.7 million; "tiny" is for tests.
    generator : torch.Generator
        Draws the first weights.

    Returns
    -------
    UNet
        Called as `ClassDenoiser` is. Its first answer is 0.

    Raises
    ------
    ImportError
        If diffusers is not installed.
    TypeError
        If `image_shape` is no tuple of integers.
    ValueError
        If `image_shape` has not two or three sides of at least 1, or if `size` is none
        of the three.

    See Also
    --------
    sklabeldiff.core.class_denoisers.ClassDenoiser : The same call for any row.

    Notes
    -----
    "paper" follows the network of EDM [1]_: its width, depth, residual blocks that
    change the side, and attention at a side of 16. It differs in small things, with
    which it has 55.9 million weights where EDM's has 55.7 (images of 32 x 32 x 3, ten
    classes): the first convolution leads to 256 channels at once instead of 128; the
    class joins the noise level after the latter's two layers, not before; attention
    on the way up, once in EDM, is left out; residual sums are not divided by sqrt(2),
    nor do residual blocks begin near 0. There is no dropout.

    References
    ----------
    .. [1] T. Karras, M. Aittala, T. Aila, S. Laine, "Elucidating the Design Space of
           Diffusion-Based Generative Models", NeurIPS 2022.
    """
    check_option("size", size, tuple(SIZES))
    shape = checked_shape(image_shape)
    # On no device: diffusers would draw from torch's global stream.
    with torch.device("meta"):
        network = UNet(shape, n_classes, SIZES[size])
    network.to_empty(device=torch.get_default_device())
    _draw_weights(network, generator)
    return network


def _margins(side: int, multiple: int) -> tuple[int, int]:
    """Pixels before and behind that make ``side`` a multiple."""
    missing = -side % multiple
    return missing // 2, missing - missing // 2


def _backbone(sides: tuple[int, int], n_channels: int, size: Size) -> Any:
    """Build the U-Net of diffusers: images and embeddings in, images out."""
    UNet2DModel = require("diffusers", "images").UNet2DModel
    n_levels = len(size.channels)
    down = ["ResnetDownsampleBlock2D"] * n_levels
    small = [i for i in range(n_levels) if max(sides) <= ATTENTION_SIDE * 2**i]
    if small:
        down[small[0]] = "AttnDownBlock2D"
    return UNet2DModel(
        sample_size=sides,
        in_channels=n_channels,
        out_channels=n_channels,
        block_out_channels=size.channels,
        layers_per_block=size.n_blocks,
        down_block_types=tuple(down),
        up_block_types=("ResnetUpsampleBlock2D",) * n_levels,
        downsample_type="resnet",  # of AttnDownBlock2D
        attention_head_dim=None,  # one head
        norm_num_groups=size.n_groups,
        time_embedding_dim=size.embedding,
        class_embed_type="identity",  # tokens come ready
        # Masks would come from torch's global stream. EDM's .13, one mask for all
        # classes of a row, is left out.
        dropout=0.0,
    )


@torch.no_grad()
def _draw_weights(network: UNet, generator: torch.Generator) -> None:
    """Give every layer torch's first weights, and the last one zeros."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for weights in layer.parameters():
                weights.uniform_(-bound, bound, generator=generator)
        elif isinstance(layer, nn.GroupNorm):
            layer.weight.fill_(1)
            layer.bias.zero_()
    bound = 1 / math.sqrt(len(network.classes))  # a linear layer from C classes
    network.classes.uniform_(-bound, bound, generator=generator)
    for weights in network.unet.conv_out.parameters():
        weights.zero_()
