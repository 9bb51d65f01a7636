"""One epoch of CAD on images: the package's, and one written out by hand.

Both have the same network, views, batches, losses, clipped gradients, optimiser and
averaged weights. The loop by hand takes from the package the network and the views.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from sklabeldiff._backbones import random_encoder
from sklabeldiff._image_views import ImageViews
from sklabeldiff.core.alignment import TAU_0
from sklabeldiff.core.candidate_losses import adjusted_loss
from sklabeldiff.core.class_gates import activation_gate
from sklabeldiff.core.class_specific_training import (
    ClassSpecificTraining,
    Objective,
    Versions,
)
from sklabeldiff.core.training import GRADIENT_NORM, Trainer
from sklabeldiff.core.two_headed import N_PROJECTED, TwoHeaded

N_IMAGES, SIDE, N_CLASSES, CANDIDATES = 640, 28, 10, 2.6
BATCH, QUEUE, BETA, TAU, TAU_W, EPS = 64, 4096, 0.3, 0.12, 0.1, 0.1
RATE, WEIGHT_DECAY, MOMENTUM = 5e-3, 0.01, 0.9
VIEWS = ImageViews((0.2, 1.0), flip=True, color_jitter=0.5)


def images() -> tuple[Tensor, Tensor]:
    """Noise with candidates. -> (n, 1, 28, 28), (n, C)."""
    gen = torch.Generator().manual_seed(0)
    x = torch.rand((N_IMAGES, 1, SIDE, SIDE), generator=gen)
    share = (CANDIDATES - 1) / (N_CLASSES - 1)
    V = torch.rand((N_IMAGES, N_CLASSES), generator=gen) < share
    V[torch.arange(N_IMAGES), torch.arange(N_IMAGES) % N_CLASSES] = True
    return x, V.float()


def make_network() -> TwoHeaded:
    gen = torch.Generator().manual_seed(0)
    trunk = random_encoder("small", gen)
    return TwoHeaded(trunk, trunk.n_features, N_CLASSES, gen)


def our_epoch() -> Callable[[], object]:
    """One epoch of the package's training."""
    x, V = images()
    training = ClassSpecificTraining(
        *(x, V, VIEWS),
        Objective(adjusted_loss, BETA, TAU, TAU_W, warmup_epochs=0, eps=EPS),
        Versions(activation_gate),
        QUEUE,
        lambda loss: Trainer(
            make_network(),
            loss,
            N_IMAGES,
            torch.Generator().manual_seed(0),
            batch_size=BATCH,
            learning_rate=RATE,
            weight_decay=WEIGHT_DECAY,
            ema=lambda _: MOMENTUM,
            planned_updates=1000,
        ),
    )
    return lambda: training.trainer.run(1)


def bare_epoch() -> Callable[[], object]:
    """One epoch of a hand-written loop."""
    x, V = images()
    gen = torch.Generator().manual_seed(0)
    student = make_network()
    teacher = copy.deepcopy(student).requires_grad_(False).train()
    optimizer = torch.optim.AdamW(
        student.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    keys = torch.zeros(QUEUE, N_PROJECTED + N_CLASSES + 1)  # v, d, g
    held = 0
    mu = x.mean()

    def epoch() -> None:
        nonlocal held
        student.train()
        for rows in torch.randperm(N_IMAGES, generator=gen).split(BATCH):
            i, s = V[rows].nonzero(as_tuple=True)
            seen = VIEWS.classified(x[rows], gen)
            with torch.no_grad():
                z = teacher(seen)
                teacher.eval()
                maps = teacher.trunk.maps(VIEWS.plain(x[rows]))
                teacher.train()
                M = torch.einsum("nc,nchw->nhw", teacher.classes.weight[s], maps[i])
                M = functional.interpolate(
                    M.relu()[:, None], (SIDE, SIDE), mode="bilinear"
                )
                largest = M.amax((1, 2, 3), keepdim=True)
                gate = torch.where(largest > 0, M / largest, 1.0)
                versions = mu + (gate + EPS * (1 - gate)) * (x[rows][i] - mu)
                v = teacher.features(VIEWS.weak(versions, gen))
                d = functional.normalize(
                    teacher(VIEWS.classified(versions, gen)), dim=1
                )
            new = torch.cat([v, d, s[:, None]], dim=1)
            old = keys[: min(held, QUEUE)]
            optimizer.zero_grad()
            L_dis = adjusted_loss(student(seen), z, V[rows]).mean()
            q = student.features(VIEWS.strong(versions, gen))
            v_all = torch.cat([q, v, old[:, :N_PROJECTED]])
            d_all = torch.cat([d, d, old[:, N_PROJECTED:-1]])
            g_all = torch.cat([s, s, old[:, -1].long()])
            itself = torch.eye(len(q), len(v_all), dtype=torch.bool)
            w = (d @ d_all.T / TAU_W).masked_fill(
                itself | (s[:, None] != g_all), -torch.inf
            )
            logits = (q @ v_all.T / TAU).masked_fill(itself, -torch.inf)
            log_P = logits.log_softmax(1).masked_fill(itself, 0.0)
            L_con = -TAU / TAU_0 * (w.softmax(1) * log_P).sum(1).mean()
            (L_dis + BETA * L_con).backward()
            nn.utils.clip_grad_norm_(student.parameters(), GRADIENT_NORM)
            optimizer.step()
            torch._foreach_lerp_(
                list(teacher.parameters()), list(student.parameters()), 1 - MOMENTUM
            )
            keys[(held + torch.arange(len(new))) % QUEUE] = new
            held += len(new)

    return epoch
