"""The label diffusion trained on candidate sets that are lists.

The story is that of `label_diffusion`. Beliefs are kept on the entries; a batch has its
rows made dense, and a refresh looks at the model's answers a few rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from . import listed_transitions as listed
from .blocks import BLOCK_ROWS
from .label_diffusion import (
    LabelDiffusion,
    LabelDiffusionTraining,
    RefreshRule,
)
from .listed_kernels import LeaveOneOutPrior
from .lists import GATHERED, CandidateLists
from .rows import Rows
from .training import Trainer


class ListedDiffusionTraining(LabelDiffusionTraining):
    """Learn, refresh while it helps, let the rate decay.

    Parameters
    ----------
    model : LabelDiffusion
    make_trainer : callable
        ``make_trainer(batch_loss)`` -> `Trainer`.
    S : Tensor of shape (e,)
        Beliefs of the entries.
    c : Tensor or StreamedRows of shape (n, p)
    prior : LeaveOneOutPrior or None
        Makes the prior means of rows; None for 0.
    lists : CandidateLists
    target : {"sharp", "soft", "hard", "sample"}
    rule : RefreshRule
    """

    def __init__(
        self,
        model: LabelDiffusion,
        make_trainer: Callable[[Any], Trainer],
        S: Tensor,
        c: Rows,
        prior: LeaveOneOutPrior | None,
        lists: CandidateLists,
        target: str,
        rule: RefreshRule,
    ) -> None:
        empty = S.new_empty(0)
        super().__init__(model, make_trainer, S, c, empty, empty, target, rule)
        self.prior, self.lists = prior, lists

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """S, c and f of some rows. (b,) -> (b, C), (b, p), (b, C)."""
        c = self.c.index_select(0, rows)
        return self.lists.dense(self.progress.S, rows), c, self.prior_mean(rows, c)

    def prior_mean(self, rows: Tensor, c: Tensor) -> Tensor:
        """Centre of the noise end. (b,), (b, p) -> (b, C)."""
        if self.prior is None:
            return c.new_zeros((len(rows), self.lists.n_classes))
        return self.prior.rows(rows, c)

    def beliefs(self, rows: slice) -> Tensor:
        """P of a few training rows, from the averaged weights. -> (b, C)."""
        numbers = torch.arange(len(self.lists), device=self.lists.ends.device)[rows]
        with self.averaged_weights():
            return self._beliefs(numbers)

    def _beliefs(self, rows: Tensor) -> Tensor:
        c = self.c[rows]
        return self.model.label_distribution(c, self.prior_mean(rows, c))

    def judged(self) -> Tensor:
        """P of the candidates of all training rows. (e,)."""
        P = torch.empty_like(self.progress.S)
        step = max(1, GATHERED // (self.lists.n_classes * BLOCK_ROWS)) * BLOCK_ROWS
        numbers = torch.arange(len(self.lists), device=P.device)
        with self.averaged_weights():
            for rows in numbers.split(step):
                some, entries = self.lists.select(rows)
                P[entries] = some.taken(self._beliefs(rows))
        return P

    def agreement(self, P: Tensor) -> float:
        """Share of rows where model and beliefs have the same best candidate."""
        return listed.agreement(self.progress.S, P, self.lists)

    def refreshed(self, P: Tensor) -> Tensor:
        """Return the beliefs that the rule makes. (e,) -> (e,)."""
        S, rule, lists = self.progress.S, self.rule, self.lists
        if rule.kind == "bayes":
            T = listed.set_transition(S, lists)
            R = listed.bayes_refresh(self.S0, P, lists, T, rule.gamma)
        else:
            R = listed.inverse_refresh(self.S0, P, S, lists)
        confident = listed.confident_rows(P, lists, rule.gate)[lists.rows]
        return torch.where(confident, (1 - rule.eta) * S + rule.eta * R, S)

    def has_collapsed(self, S: Tensor) -> bool:
        """Whether a class has lost the belief mass that it had at first."""
        return listed.has_collapsed(S, self.S0, self.lists)

    def entropy(self) -> float:
        """Mean entropy of the beliefs, in nats."""
        return listed.mean_entropy(self.progress.S, len(self.lists))
