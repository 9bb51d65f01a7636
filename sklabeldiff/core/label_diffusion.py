"""A diffusion over label vectors: its loss, its reverse chain, and its training story.

    S      (n, C)  beliefs over candidates, what the diffusion learns to generate
    S0     (n, C)  beliefs before the first refresh
    f      (n, C)  prior mean of each row
    c      (n, p)  condition: features of each row
    P      (n, C)  what the model believes, from the reverse chain

`LabelDiffusion` is the model; `fit_label_diffusion` trains it and refreshes S from
what it has learnt (section 6 of the method page): late, gated, and only while model
and beliefs agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from . import transitions
from .blocks import in_blocks
from .denoisers import Denoiser
from .process import LABEL_RANGE, GaussianProcess
from .process import Denoiser as StateDenoiser
from .rows import Rows
from .training import Trainer

TEMPERATURE = 0.1  # tau: p_q proportional to exp(-(s_q - 1)^2 / tau)

# Shares of the epoch budget. The first refresh comes after half of it, or when loss
# and beliefs have settled; the rate decays over the last fifth.
LEARN_CHUNKS, REFRESHES = 5, 4
LEARN_SHARE, REFRESH_SHARE, DECAY_SHARE = 0.5, 0.3, 0.2
MIN_AGREEMENT = 0.9  # below it the model contradicts the beliefs: no refresh
SETTLED_LOSS, SETTLED_ROWS = 0.05, 0.01  # relative change; share of rows that change
MIN_CHUNKS = 2  # chunks learnt before settling is believed
REFRESHED_ROWS = 8192  # at a time
WATCHED_ROWS = 256  # rows whose beliefs tell whether training has settled
MAX_UNSCALED_CLASSES, SCALED_LIKE_CLASSES = 200, 10

Log = dict[str, Any]


def mean_entropy(S: Tensor) -> float:
    """Mean entropy of the rows of S, in nats. (n, C)."""
    blocks = S.split(REFRESHED_ROWS)
    return sum(torch.special.entr(s).sum().item() for s in blocks) / len(S)


class LabelScale(NamedTuple):
    """Unit of the labels that are diffused: ``factor`` (S - ``centre``).

    Of very many classes a label is one coordinate in all of them, whose variance drowns
    in the noise. Scaled, it has that of ten classes (section 8).
    """

    factor: float = 1.0
    centre: float = 0.0

    @classmethod
    def of(cls, n_classes: int) -> Self:
        """Return the scale for so many classes: none up to 200."""
        if n_classes <= MAX_UNSCALED_CLASSES:
            return cls()
        return cls(math.sqrt(n_classes / SCALED_LIKE_CLASSES), 1 / n_classes)

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest value that a label is cut to, in this unit."""
        low, high = LABEL_RANGE
        return self.factor * (low - self.centre), self.factor * (high - self.centre)

    def __call__(self, S: Tensor) -> Tensor:
        """Labels in this unit. (..., C)."""
        return S if self.factor == 1 else self.factor * (S - self.centre)

    def inverse(self, s: Tensor) -> Tensor:
        """Labels in their own unit. (..., C)."""
        return s if self.factor == 1 else s / self.factor + self.centre


UNSCALED = LabelScale()


@dataclass
class LabelDiffusion:
    """The generative model of labels given features.

    Parameters
    ----------
    denoiser : Denoiser
    process : GaussianProcess
    n_sampling_steps : int
    trust : float
        Share of the denoiser's correction of the prior mean that is believed, in
        (0, 1]. With prediction of the noise it must be 1.
    scale : LabelScale
        Unit in which labels and prior means are diffused; all arguments are unscaled.
    """

    denoiser: Denoiser
    process: GaussianProcess
    n_sampling_steps: int
    trust: float = 1.0
    scale: LabelScale = UNSCALED

    def loss(
        self, module: nn.Module, S: Tensor, c: Tensor, f: Tensor, gen: torch.Generator
    ) -> Tensor:
        """Denoising loss of one batch. (b, C), (b, p), (b, C) -> scalar.

        Steps are antithetic: half of them are drawn, the others mirror them, so that
        every batch sees low and high noise alike.
        """
        S, f = self.scale(S), self.scale(f)
        L, b = self.process.n_timesteps, len(S)
        t = torch.randint(L, (-(-b // 2),), generator=gen, device=S.device) + 1
        t = torch.cat([t, L + 1 - t])[:b]
        eps = torch.randn(S.shape, generator=gen, device=S.device)
        s_t = self.process.marginal(S, t, eps, f)
        error = module(s_t, t, c, f) - self.process.target(S, eps, f)
        return error.square().mean()

    @torch.no_grad()  # not inference_mode: a refresh writes into P
    def label_distribution(self, c: Rows, f: Tensor) -> Tensor:
        """P, from the deterministic chain that starts at f. (n, p), (n, C) -> (n, C).

        The class nearest to 1 is the most likely, not the largest coordinate: one of
        1.4 is a worse label than one of 0.9.
        """
        self.denoiser.eval()
        return in_blocks(self._probabilities, c, f)

    def _probabilities(self, c: Tensor, f: Tensor) -> Tensor:
        """P of one block."""
        f = self.scale(f)
        s0 = self.process.ddim(self._denoise(c, f), f, f, self.n_sampling_steps)
        s0 = self.scale.inverse(s0)
        return torch.softmax(-((s0 - 1) ** 2) / TEMPERATURE, dim=-1)

    @torch.no_grad()
    def path(self, c: Tensor, f: Tensor) -> tuple[list[int], Tensor]:
        """Return steps L, ..., 0 of this chain, S_t at each. -> (m,), (n, m, C)."""
        self.denoiser.eval()

        def states(c: Tensor, f: Tensor) -> Tensor:
            f = self.scale(f)
            denoise, m = self._denoise(c, f), self.n_sampling_steps
            chain = self.process.ddim_states(denoise, f, f, m)
            return torch.stack([self.scale.inverse(s) for s in chain], dim=1)

        return self.process.ddim_grid(self.n_sampling_steps), in_blocks(states, c, f)

    def _denoise(self, c: Tensor, f: Tensor) -> StateDenoiser:
        """Return the denoiser of one block, whose rows are all at one step."""
        condition = self.denoiser.condition(c, f)
        return lambda s, t: self.trust * self.denoiser.denoise(s, t[:1], condition)


@dataclass(frozen=True)
class RefreshRule:
    """How beliefs are refreshed from the model.

    Parameters
    ----------
    kind : {"bayes", "inverse"} or None
    gamma : float
        Trust in the set transition matrix ("bayes" only).
    eta : float
        Share of the new beliefs in the refreshed ones.
    gate : float
        Only rows whose model belief in one candidate exceeds it are refreshed.
    """

    kind: str | None
    gamma: float
    eta: float
    gate: float

    def __call__(self, S: Tensor, S0: Tensor, P: Tensor, Y: Tensor) -> Tensor:
        """Refresh the beliefs S. (n, C) each -> (n, C), in the place of P."""
        if self.kind == "bayes":
            T = transitions.set_transition(S, Y)
        else:
            T = transitions.row_transition(S, Y)
        tables = (a.split(REFRESHED_ROWS) for a in (S, S0, P, Y))
        for s, s0, p, y in zip(*tables, strict=True):
            p.copy_(self._refreshed(T, s, s0, p, y))
        return P

    def _refreshed(
        self, T: Tensor, S: Tensor, S0: Tensor, P: Tensor, Y: Tensor
    ) -> Tensor:
        """Beliefs of some rows, given the transition matrix of all. (b, C)."""
        if self.kind == "bayes":
            R = transitions.bayes_refresh(S0, P, Y, T, self.gamma)
        else:
            R = transitions.inverse_refresh(S0, P, Y, T)
        confident = transitions.confident_rows(P, Y, self.gate)[:, None]
        return torch.where(confident, (1 - self.eta) * S + self.eta * R, S)


TARGETS: dict[str, Callable[[Tensor], Tensor]] = {
    "sharp": transitions.sharpen,
    "soft": lambda S: S,
    "hard": transitions.harden,
    "sample": lambda S: S,  # and a draw, see `batch_loss`
}


@dataclass
class Progress:
    """Where training stands; with the trainer's state, all that a resume needs."""

    S: Tensor
    stage: int = 0
    refreshing: bool = True
    settled: bool = False
    watched: Tensor | None = None
    history: list[Log] = field(default_factory=list)


def training_plan(max_epochs: int) -> list[tuple[str, int]]:
    """Stages of training with their epochs, which add up to ``max_epochs``."""
    stages = [("learn", LEARN_SHARE / LEARN_CHUNKS)] * LEARN_CHUNKS
    stages += [("refresh", REFRESH_SHARE / REFRESHES)] * REFRESHES
    stages += [("decay", DECAY_SHARE)]
    plan, share, done = [], 0.0, 0
    for name, part in stages:
        share += part
        # Halves go up: a refresh never comes before half of the epochs.
        until = math.floor(share * max_epochs + 0.5)
        plan.append((name, until - done))
        done = until
    return plan


class LabelDiffusionTraining:
    """The training story: learn, refresh while it helps, let the rate decay.

    Parameters
    ----------
    model : LabelDiffusion
    make_trainer : callable
        ``make_trainer(batch_loss)`` -> `Trainer`.
    S, c, f : Tensor of shape (n, C), (n, p), (n, C)
        ``c`` may also be `StreamedRows`.
    Y : Tensor of shape (n, C), bool
    target : {"sharp", "soft", "hard", "sample"}
    rule : RefreshRule
    """

    def __init__(
        self,
        model: LabelDiffusion,
        make_trainer: Callable[[Any], Trainer],
        S: Tensor,
        c: Rows,
        f: Tensor,
        Y: Tensor,
        target: str,
        rule: RefreshRule,
    ) -> None:
        self.model, self.c, self.f, self.Y = model, c, f, Y
        self.target, self.rule = target, rule
        self.S0 = S
        self.progress = Progress(S)
        self.trainer = make_trainer(self.batch_loss)

    def batch_loss(self, module: nn.Module, rows: Tensor) -> Tensor:
        """Loss of the rows against targets made of their current beliefs."""
        S, c, f = self.batch(rows)
        S, gen = TARGETS[self.target](S), self.trainer.generator
        if self.target == "sample":
            drawn = torch.multinomial(S, 1, generator=gen)
            S = torch.zeros_like(S).scatter_(1, drawn, 1.0)
        return self.model.loss(module, S, c, f, gen)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """S, c and f of some rows. (b,) -> (b, C), (b, p), (b, C)."""
        # index_select takes half the time of tensor[rows].
        S, f = (table.index_select(0, rows) for table in (self.progress.S, self.f))
        return S, self.c.index_select(0, rows), f

    def run(
        self, max_epochs: int, after_stage: Callable[[int], None] | None = None
    ) -> Tensor:
        """Train from the current stage to the end; returns S.

        ``after_stage(epochs)`` is called when a stage is done, with its epochs.
        """
        plan = training_plan(max_epochs)
        state = self.progress
        while state.stage < len(plan):
            name, epochs = plan[state.stage]
            if name == "refresh":
                self.refresh()
            if name == "decay":
                self.trainer.decay(epochs)
            if epochs and not (name == "learn" and state.settled):
                self.train(name, epochs)
            state.stage += 1
            if after_stage is not None:
                after_stage(epochs)
            if self.trainer.stopped:
                break
        self.use_average()
        return state.S

    def train(self, name: str, epochs: int) -> None:
        """Train one stage on the current beliefs."""
        loss = self.trainer.run(epochs)
        log = {"stage": name, "epoch": self.trainer.n_epochs, "loss": loss}
        self.progress.history.append(log)
        if name == "learn":
            self.watch(loss)

    def watch(self, loss: float) -> None:
        """Settled: loss and the beliefs of some rows no longer change."""
        state = self.progress
        losses = [log["loss"] for log in state.history]
        if not MIN_CHUNKS <= len(losses) < LEARN_CHUNKS:
            return  # too early to tell, or no chunk left to save
        best = self.beliefs(slice(0, WATCHED_ROWS)).argmax(1)
        if state.watched is not None:
            steady = losses[-2] - loss < SETTLED_LOSS * losses[-2]
            moved = torch.ne(best, state.watched).double().mean().item()
            state.settled = steady and moved < SETTLED_ROWS
        state.watched = best

    def refresh(self) -> None:
        """Refresh S from the model, unless a guard objects."""
        state = self.progress
        if self.rule.kind is None or not state.refreshing:
            return
        P = self.judged()
        agreement = self.agreement(P)
        log: Log = {
            "stage": "refresh",
            "epoch": self.trainer.n_epochs,
            "agreement": agreement,
            "refreshed": False,
        }
        if agreement >= MIN_AGREEMENT or self.rule.gate == 0:
            S = self.refreshed(P)
            log["collapse"] = self.has_collapsed(S)
            if log["collapse"]:
                state.refreshing = False
            else:
                state.S, log["refreshed"] = S, True
        log["entropy"] = self.entropy()
        state.history.append(log)

    def judged(self) -> Tensor:
        """P of all training rows."""
        return self.beliefs(slice(None))

    def agreement(self, P: Tensor) -> float:
        """Share of rows where model and beliefs have the same best candidate."""
        return transitions.agreement(self.progress.S, P, self.Y)

    def refreshed(self, P: Tensor) -> Tensor:
        """Return the beliefs that the rule makes, in the place of P."""
        return self.rule(self.progress.S, self.S0, P, self.Y)

    def has_collapsed(self, S: Tensor) -> bool:
        """Whether a class has lost the belief mass that it had at first."""
        return transitions.has_collapsed(S, self.S0)

    def entropy(self) -> float:
        """Mean entropy of the beliefs, in nats."""
        return mean_entropy(self.progress.S)

    def beliefs(self, rows: slice) -> Tensor:
        """P of some training rows, from the averaged weights."""
        with self.averaged_weights():
            c = self.c if rows == slice(None) else self.c[rows]  # not to load them all
            return self.model.label_distribution(c, self.f[rows])

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Look at the averaged weights, then go on with the others."""
        module = self.trainer.module
        current = {k: v.clone() for k, v in module.state_dict().items()}
        self.use_average()
        try:
            yield
        finally:
            module.load_state_dict(current)

    def use_average(self) -> None:
        """Put the averaged weights into the network."""
        self.trainer.module.load_state_dict(self.trainer.averaged, strict=False)

    def state(self) -> Log:
        """Everything needed to go on later; write it before training goes on."""
        return {"trainer": self.trainer.state(), "progress": vars(self.progress)}

    def restore(self, state: Log) -> None:
        """Go on from `state`."""
        self.trainer.restore(state["trainer"])
        self.progress = Progress(**state["progress"])
