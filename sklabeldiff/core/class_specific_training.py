"""How CAD is trained: a loss of the sets, and contrast of class-specific versions.

    # x       (n, ...)  rows, or images in [0, 1]
    # V       (n, C)    what was given: weights of the candidates, 0 for the others
    # i, s    (N,)      row of the batch and class of each version: all candidates
    # q, v, d           features of the student, keys and logits of the teacher

The story of an update is `ClassSpecificTraining.batch_loss`. Sections and equations are
those of CAD's method page.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .alignment import (
    KeyQueue,
    Keys,
    alignment_loss,
    alignment_weights,
    instance_loss,
)
from .candidate_losses import CandidateLoss, dirk_target
from .class_gates import Gate, gated
from .training import BatchLoss, Trainer, train_in_stages
from .two_headed import N_PROJECTED

View = Callable[[Tensor, torch.Generator], Tensor]


class Views(Protocol):
    """Random views of a batch as the network sees them, section 3."""

    @property
    def classified(self) -> View:
        """What is classified."""

    @property
    def weak(self) -> View:
        """What keys are made of."""

    @property
    def strong(self) -> View:
        """What the student's features are made of."""

    def plain(self, x: Tensor) -> Tensor:
        """No view: what predictions are made of."""


@dataclass(frozen=True)
class Objective:
    """What is learnt.

    Parameters
    ----------
    candidate_loss : callable
        Of the logits of student and teacher, and V. -> (b,).
    beta : float
        Weight of the contrast; with 0 no version is made.
    tau, tau_w : float
    warmup_epochs : int
        Epochs in which versions are not gated, and each is told from all others.
    per_row : bool
        Whether a row counts once in the contrast, eq. (1), or once for each candidate.
    eps : float
        What is left of an entry that a gate shuts.
    reliable : bool
        Whether to contrast rows of one guessed label, as DIRK does, not versions.
    """

    candidate_loss: CandidateLoss
    beta: float
    tau: float
    tau_w: float
    warmup_epochs: int
    per_row: bool = False
    eps: float = 0.1
    reliable: bool = False


@dataclass(frozen=True)
class Versions:
    """Where class-specific versions come from.

    Parameters
    ----------
    gate : callable, optional
    ready : Tensor of shape (n_pairs, ...), optional
        Versions made before, for every candidate of row 0, then of row 1, ...
    max_versions : int, optional
        Candidates drawn in an update of a row that has more.
    """

    gate: Gate | None = None
    ready: Tensor | None = None
    max_versions: int | None = None


class ClassSpecificTraining:
    """Trains a student, and the average that teaches it.

    Parameters
    ----------
    x, V : Tensor of shape (n, ...) and (n, C)
    views : Views
    objective : Objective
    versions : Versions
    queue_size : int
    make_trainer : callable
        ``make_trainer(batch_loss)`` -> `Trainer` of a `TwoHeaded`.
    """

    def __init__(
        self,
        x: Tensor,
        V: Tensor,
        views: Views,
        objective: Objective,
        versions: Versions,
        queue_size: int,
        make_trainer: Callable[[BatchLoss], Trainer],
    ) -> None:
        self.x, self.V, self.views = x, V, views
        self.objective, self.versions = objective, versions
        # Of each column of rows, or of each channel of images.
        self.centre = x.mean((0, *range(2, x.ndim)), keepdim=True)
        sizes = (V > 0).sum(1)
        self.first_pair = sizes.cumsum(0) - sizes
        self.queue = KeyQueue(queue_size, N_PROJECTED, V.shape[1], x)
        self.trainer = make_trainer(self.batch_loss)
        self.teacher: Any = self.trainer.teacher(own_statistics=True).train()

    def run(self, n_epochs: int, after_stage: Callable[[int], object]) -> None:
        """Train to the end."""
        train_in_stages(self.trainer, n_epochs, after_stage)

    def batch_loss(self, student: Any, rows: Tensor) -> Tensor:
        """Loss of some rows: L_dis + beta L_con, section 4.3. (b,) -> ()."""
        x, V = self.x[rows], self.V[rows]
        seen = self.views.classified(x, self.trainer.generator)
        with torch.no_grad():
            z = self.teacher(seen)
        loss = self.objective.candidate_loss(student(seen), z, V).mean()
        if not self.objective.beta:
            return loss
        if self.objective.reliable:
            contrast = self.reliable_contrast(student, x, V, z)
        else:
            contrast = self.contrast(student, x, V, rows)
        return loss + self.objective.beta * contrast

    # -- versions for a class (CAD) ------------------------------------------------

    def contrast(self, student: Any, x: Tensor, V: Tensor, rows: Tensor) -> Tensor:
        """L_con over all candidates of a batch. -> ()."""
        i, s, pair = self.pairs(V, rows)
        versions = self.make_versions(x, i, s, pair)
        gen = self.trainer.generator
        q = student.features(self.views.strong(versions, gen))
        with torch.no_grad():
            v = self.teacher.features(self.views.weak(versions, gen))
            d = self.teacher(self.views.classified(versions, gen))
        new = Keys(v, d, s, V[i])
        loss = self.aligned(q, new, lambda held: s[:, None] == held.g)
        self.queue.push(new)
        return self.average(loss, i, len(x))

    def pairs(self, V: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Row of the batch, class and number of each candidate, row by row. (N,)."""
        chosen = V > 0
        ranks = chosen.cumsum(1) - 1
        k = self.versions.max_versions
        if k is not None and k < V.shape[1]:
            gen = self.trainer.generator
            lots = torch.rand(V.shape, generator=gen, device=V.device)
            lots = lots.masked_fill(~chosen, -1.0)
            chosen = chosen & (lots >= lots.topk(k, dim=1).values[:, -1:])
        i, s = chosen.nonzero(as_tuple=True)
        return i, s, self.first_pair[rows][i] + ranks[i, s]

    def make_versions(self, x: Tensor, i: Tensor, s: Tensor, pair: Tensor) -> Tensor:
        """x_i^(s), section 7. -> (N, ...)."""
        if self.versions.ready is not None:
            return self.versions.ready[pair]
        if self.versions.gate is None or self.is_warming_up:
            return x[i]
        # Made anew in every update: as cheap as once an epoch, since a row is seen
        # once an epoch, and never out of date.
        self.teacher.eval()
        plain = self.views.plain(x)
        gate = self.versions.gate(self.teacher, plain, i, s, self.centre)
        self.teacher.train()
        return gated(x[i], gate, self.objective.eps, self.centre)

    @property
    def is_warming_up(self) -> bool:
        """Whether classes do not take part in the contrast yet."""
        return self.trainer.n_epochs < self.objective.warmup_epochs

    def aligned(
        self, q: Tensor, new: Keys, positive: Callable[[Keys], Tensor]
    ) -> Tensor:
        """Contrast of each anchor. (N, r) -> (N,). Section 4.2."""
        goal, queued = self.objective, self.queue.keys()
        if self.is_warming_up:
            # A copy: new keys go into the queue before gradients are computed.
            return instance_loss(q, new.v, queued.v.clone(), goal.tau)
        held = Keys(
            torch.cat([q, new.v, queued.v]),
            torch.cat([new.d, new.d, queued.d]),
            torch.cat([new.g, new.g, queued.g]),
            torch.cat([new.V, new.V, queued.V]),
        )
        with torch.no_grad():
            alike = positive(held).fill_diagonal_(False)
            w = alignment_weights(new.d, held.d, alike, goal.tau_w)
        return alignment_loss(q, held.v, w, goal.tau)

    def average(self, loss: Tensor, i: Tensor, n_rows: int) -> Tensor:
        """Mean over versions, or first over those of a row. (N,), (N,) -> ()."""
        if not self.objective.per_row:
            return loss.mean()
        share = 1.0 / i.bincount(minlength=n_rows)
        return (loss * share[i]).sum() / n_rows

    # -- rows of one guessed label (DIRK) ------------------------------------------

    def reliable_contrast(
        self, student: Any, x: Tensor, V: Tensor, z: Tensor
    ) -> Tensor:
        """Contrast of rows whose targets agree and whose sets meet. Section 8 (b)."""
        gen = self.trainer.generator
        t = dirk_target(z, V)
        q = student.features(self.views.strong(x, gen))
        with torch.no_grad():
            v = self.teacher.features(self.views.weak(x, gen))
        new = Keys(v, t, t.argmax(1), V)

        def positive(held: Keys) -> Tensor:
            meets = (V > 0).to(V) @ (held.V > 0).to(V).T > 0
            return meets & (new.g[:, None] == held.g)

        loss = self.aligned(q, new, positive)
        self.queue.push(new)
        return loss.mean()

    # -- afterwards ----------------------------------------------------------------

    def predictor(self) -> nn.Module:
        """Return the student as it predicts: without the head that only learns."""
        network = copy.deepcopy(self.trainer.module)
        network.projection = nn.Identity()
        return network.eval()

    # -- resuming ------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later; write it before training goes on."""
        return {
            "trainer": self.trainer.state(),
            "teacher": self.teacher.state_dict(),
            "queue": self.trainer.processes.keep(self.queue.state()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.trainer.restore(state["trainer"])
        self.teacher.load_state_dict(state["teacher"])
        self.queue.restore(self.trainer.processes.own(state["queue"]))
