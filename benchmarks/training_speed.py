"""One epoch of DDMP: the package's, one written out by hand, and its products alone.

The loop by hand has the same network, batch, denoising loss, clipped gradients,
optimiser and averaged weights; it takes from the package the network and the schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from sklabeldiff import DDMPClassifier
from sklabeldiff.core.denoisers import GatedDenoiser
from sklabeldiff.core.label_diffusion import LabelDiffusionTraining
from sklabeldiff.core.schedules import make_schedule
from sklabeldiff.core.training import GRADIENT_NORM, Trainer, n_batches

N_ROWS, N_FEATURES, N_CLASSES = 20_000, 512, 10
WIDTH, N_TIMESTEPS = 512, 100
SHAPES = f"n = {N_ROWS}, d = {N_FEATURES}, C = {N_CLASSES}, width {WIDTH}"
RATE, WEIGHT_DECAY, EMA = 1e-3, 0.01, 0.99
PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
N_LISTED = 8  # operations of a profile

Tables = tuple[Tensor, Tensor, Tensor]


def tables(n_rows: int = N_ROWS) -> Tables:
    """Beliefs S, features c and prior means f of noise."""
    gen = torch.Generator().manual_seed(0)
    c = torch.randn((n_rows, N_FEATURES), generator=gen)
    S = torch.rand((n_rows, N_CLASSES), generator=gen).softmax(1)
    return S, c, torch.full((n_rows, N_CLASSES), 1 / N_CLASSES)


def our_epoch(data: Tables, batch: int) -> Callable[[], object]:
    """One epoch of the package's training."""
    S, c, f = data
    clf = DDMPClassifier(hidden=WIDTH, n_timesteps=N_TIMESTEPS)
    gen = torch.Generator().manual_seed(0)
    model = clf._make_model(
        clf._make_denoiser(N_FEATURES, N_CLASSES, gen).to(S.device),
        N_CLASSES,
        S.device,
    )

    def make_trainer(loss: Any) -> Trainer:
        return Trainer(
            model.denoiser,
            loss,
            len(S),
            gen,
            batch_size=batch,
            learning_rate=RATE,
            weight_decay=WEIGHT_DECAY,
            ema=EMA,
            planned_updates=1000,
        )

    training = LabelDiffusionTraining(
        model, make_trainer, S, c, f, S > 0, "soft", clf._refresh_rule()
    )
    return lambda: training.trainer.run(1)


def bare_epoch(data: Tables, batch: int) -> Callable[[], object]:
    """One epoch of a hand-written loop; nothing of the package but the network."""
    S, c, f = data
    gen = torch.Generator().manual_seed(0)
    net = GatedDenoiser(N_FEATURES, N_CLASSES, N_TIMESTEPS, WIDTH, gen)
    matrices = [p for name, p in net.named_parameters() if "bias" not in name]
    biases = [p for name, p in net.named_parameters() if "bias" in name]
    optimizer = torch.optim.AdamW(
        [{"params": matrices}, {"params": biases, "weight_decay": 0.0}],
        lr=RATE,
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )
    abar = make_schedule("cosine", N_TIMESTEPS).abar.to(torch.float32)
    current = [v for v in net.state_dict().values() if v.is_floating_point()]
    averaged = [v.clone() for v in current]

    def epoch() -> None:
        net.train()
        order = torch.randperm(len(S), generator=gen)
        for rows in order.tensor_split(n_batches(len(S), batch)):
            s0, x, prior = (a.index_select(0, rows) for a in (S, c, f))
            half = -(-len(rows) // 2)
            t = torch.randint(N_TIMESTEPS, (half,), generator=gen) + 1
            t = torch.cat([t, N_TIMESTEPS + 1 - t])[: len(rows)]
            signal = abar[t].sqrt()[:, None]
            noise = (1 - abar[t]).sqrt()[:, None]
            eps = torch.randn(s0.shape, generator=gen)
            s_t = prior + signal * (s0 - prior) + noise * eps
            optimizer.zero_grad()
            error = net(s_t, t, x, prior) - (s0 - prior)
            error.square().mean().backward()
            nn.utils.clip_grad_norm_(net.parameters(), GRADIENT_NORM)
            optimizer.step()
            torch._foreach_lerp_(averaged, current, 1 - EMA)

    return epoch


class _Products(TorchDispatchMode):
    """Keeps the matrix products that are asked for, with their operands."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in PRODUCTS:
            self.calls.append((func, args))
        return func(*args, **(kwargs or {}))


def products(batch: int) -> Callable[[], object]:
    """All matrix products of one update, forward and backward, and nothing else.

    Operands are those of the update, in its layouts.
    """
    update = our_epoch(tables(batch), batch)
    with _Products() as made:
        update()

    @torch.inference_mode()
    def run() -> None:
        for product, operands in made.calls:
            product(*operands)

    return run


def profiled(epoch: Callable[[], object]) -> list[tuple[str, float]]:
    """Operations of torch that take longest, and the share of each in their time."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        epoch()
    seconds = {a.key: a.self_cpu_time_total for a in found.key_averages()}
    whole = sum(seconds.values())
    longest = sorted(seconds, key=seconds.__getitem__, reverse=True)[:N_LISTED]
    return [(name, seconds[name] / whole) for name in longest]
