"""Contrastive learning: two views of an image shall be each other's nearest.

Defines the NT-Xent loss, the network that it trains, and their `Trainer`.
How a view is made of an image, and which encoder sees it, is the caller's.

    # h    (b, p)  features, what the encoder gives            section 2.1 of the paper
    # z    (b, d)  projections of them, what the loss compares
    # tau  scalar  temperature

The paper is T. Chen et al., "A Simple Framework for Contrastive Learning of Visual
Representations", ICML 2020, arXiv:2002.05709.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import mlp
from .training import BatchLoss, EpochListener, Trainer, n_batches

N_PROJECTED = 128  # columns of z, section 2.1
WEIGHT_DECAY = 0.01
EMA = 0.99

# Random views of images. (b, 3, h, w), generator -> (b, 3, h, w)
Views = Callable[[Tensor, torch.Generator], Tensor]


def nt_xent(z_a: Tensor, z_b: Tensor, temperature: float) -> Tensor:
    r"""Normalised, temperature-scaled cross entropy. (b, d), (b, d) -> ().

    With the two views of row k at i and j of all 2b projections, and s the cosine,
    eq. 1 is averaged over both orders of each pair:

    .. math:: l_{i,j} = -\log \frac{\exp(s_{i,j} / \tau)}
              {\sum_{k \ne i} \exp(s_{i,k} / \tau)}

    It is 0 for a single row, whose view has nothing to be mistaken for.
    """
    n_rows = len(z_a)
    z = functional.normalize(torch.cat([z_a, z_b]), dim=1)  # (2b, d)
    logits = z @ z.T / temperature  # (2b, 2b)
    # A view is not among its own candidates. The diagonal goes before the softmax:
    # taken out of the sum afterwards, exp(1 / tau) would drown the rest.
    itself = torch.eye(2 * n_rows, dtype=torch.bool, device=z.device)
    logits = logits.masked_fill(itself, -math.inf)
    partner = torch.arange(2 * n_rows, device=z.device).roll(n_rows)
    return functional.cross_entropy(logits, partner)


class ContrastiveNetwork(nn.Module):
    """An encoder and the perceptron g that only training needs. (b, ...) -> (b, d).

    The loss asks z to forget how views differ, so that h serves other tasks better
    (section 4.2): keep `encoder`, drop `head`.
    """

    def __init__(
        self, encoder: nn.Module, n_features: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = mlp(n_features, [n_features], N_PROJECTED, generator)

    def forward(self, images: Tensor) -> Tensor:
        """Project views of images. (b, 3, h, w) -> (b, d)."""
        z: Tensor = self.head(self.encoder(images))
        return z


def contrastive_loss(
    images: Tensor, views: Views, temperature: float, generator: torch.Generator
) -> BatchLoss:
    """Return the loss of rows of ``images`` (n, 3, h, w), for `Trainer`.

    ``generator`` draws the views; its state and the weights decide the loss.
    """

    def batch_loss(network: nn.Module, rows: Tensor) -> Tensor:
        # Both views pass the network together, and share the statistics of the batch.
        twice = images[rows.repeat(2)]  # (2b, 3, h, w)
        z_a, z_b = network(views(twice, generator)).chunk(2)
        return nt_xent(z_a, z_b, temperature)

    return batch_loss


def contrastive_trainer(
    network: ContrastiveNetwork,
    images: Tensor,
    views: Views,
    generator: torch.Generator,
    *,
    temperature: float,
    batch_size: int,
    learning_rate: float,
    n_epochs: int,
    listener: EpochListener | None = None,
) -> Trainer:
    """Return what trains a network on ``images`` (n, 3, h, w), all on one device.

    The rate falls along one cosine over ``n_epochs``; section 2.1.
    """
    trainer = Trainer(
        network,
        contrastive_loss(images, views, temperature, generator),
        len(images),
        generator,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=WEIGHT_DECAY,
        ema=EMA,
        planned_updates=n_epochs * n_batches(len(images), batch_size),
        listener=listener,
    )
    trainer.decay(n_epochs)
    return trainer
