"""Small residual networks for small images, with weights from an explicit generator.

The layers are the ResNet of transformers [1]_; its stem, made for photographs of 224
pixels, gives way to one convolution that keeps the size.

.. [1] K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from sklabeldiff._arrays import Arrays, load_arrays
from sklabeldiff._optional import require

# Settings of transformers' ResNetConfig. "small" halves the image at once and has an
# eightieth of the multiplications of "resnet18", the usual network for 32 pixels.
NETWORKS: dict[str, dict[str, Any]] = {
    "small": {
        "embedding_size": 16,
        "hidden_sizes": [32, 64, 128],
        "depths": [1, 1, 1],
        "downsample_in_first_stage": True,
    },
    "resnet18": {
        "embedding_size": 64,
        "hidden_sizes": [64, 128, 256, 512],
        "depths": [2, 2, 2, 2],
        "downsample_in_first_stage": False,
    },
    "resnet34": {
        "embedding_size": 64,
        "hidden_sizes": [64, 128, 256, 512],
        "depths": [3, 4, 6, 3],
        "downsample_in_first_stage": False,
    },
}


class ResNetEncoder(nn.Module):
    """Images to pooled features: (b, 3, h, w) -> (b, n_features).

    On the meta device: without values, until weights are drawn or loaded.
    """

    def __init__(self, network: str) -> None:
        super().__init__()
        transformers = require("transformers")
        settings = NETWORKS[network]
        config = transformers.ResNetConfig(layer_type="basic", **settings)
        # Nowhere else do layers come into being without a draw from the global stream.
        with torch.device("meta"):
            self.resnet = transformers.ResNetModel(config)
            stem = nn.Conv2d(3, config.embedding_size, 3, padding=1, bias=False)
        self.resnet.embedder.embedder.convolution = stem
        self.resnet.embedder.pooler = nn.Identity()
        self.n_features: int = config.hidden_sizes[-1]
        # Twice as fast on a CPU. Weights keep the format when values are filled in.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised images."""
        pooled: Tensor = self._outputs(pixels).pooler_output  # (b, n_features, 1, 1)
        return pooled.flatten(1)

    def maps(self, pixels: Tensor) -> Tensor:
        """Return what is pooled. (b, 3, h, w) -> (b, n_features, h', w')."""
        maps: Tensor = self._outputs(pixels).last_hidden_state
        return maps

    def _outputs(self, pixels: Tensor) -> Any:
        return self.resnet(pixels.contiguous(memory_format=torch.channels_last))


def random_encoder(network: str, generator: torch.Generator) -> ResNetEncoder:
    """Return the network with He's initial weights from ``generator``."""
    encoder = ResNetEncoder(network).to_empty(device=torch.get_default_device())
    for layer in encoder.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(
                layer.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()  # constants
    return encoder


def load_encoder(network: str, weights: Arrays) -> ResNetEncoder:
    """Return the network on the CPU with weights from `state_arrays`.

    Raises
    ------
    ValueError
        If they are the weights of another network.
    """
    encoder = ResNetEncoder(network)
    load_arrays(encoder, weights, torch.device("cpu"))
    return encoder


def weight_digest(weights: Arrays) -> str:
    """Name weights by their values."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(f"{name}{array.shape}".encode() + array.tobytes())
    return digest.hexdigest()
