"""How a class-conditional diffusion is trained from imprecise labels.

    # x      (n, d)  clean inputs, of deviation 0.5
    # V      (n, C)  what was given: weights of the candidates, 0 for the others
    # theta          the network in training;  phi its average, the teacher
    # T              noise levels a row and update

The story of an update is `ImpreciseTraining.batch_loss`: noise the rows, ask theta and
phi for every class (or, where classes are many, for those of `asked_classes`), read
both posteriors, and fit the mixture and the classes at once (section 5 of DMIS's method
page, by whose numbers equations are named).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from . import edm, imprecise
from .asked_classes import asked_classes, class_means
from .class_diffusion import class_errors, log_posterior
from .noise_levels import NoiseLevels
from .training import BatchLoss, Trainer, train_in_stages

LABELLED_SHARE = 0.25  # of the rows of an epoch, at least, where few are labelled
FIRST_SHARE = 0.2  # of the updates, in which beliefs are those of the neighbours
PRIOR_KEPT = 0.9  # mu; not in the paper
SURELY_KEPT = 2.0  # above any probability
HALF_LIFE = 500_000  # rows; EDM's, which "decay 0.5" is read as


@dataclass(frozen=True)
class Objective:
    """What is learnt.

    Parameters
    ----------
    wrong : bool
        Whether what was given may be wrong, eq. (7); else it holds the truth, (5), (6).
    vanilla : bool
        Whether to condition on what was given, as if it were a class, and learn nothing
        of classes: what the paper compares with.
    cls_weight : float
        Weight of the classification part.
    temperature : float
        Divides ell.
    top_k : int or None
        Classes asked of theta for a row, the likeliest by phi; None for all.
    n_asked : int or None
        Classes asked of both for a row, chosen beforehand; None for all.
    moving_prior : bool
        Whether the class prior follows the beliefs.
    """

    wrong: bool
    vanilla: bool
    cls_weight: float
    temperature: float
    top_k: int | None
    moving_prior: bool
    n_asked: int | None = None


def work_of_a_row(
    network: nn.Module, x: Tensor, condition: Tensor | None = None
) -> int:
    """Floating-point operations of a forward pass of one row. (1, d)."""
    with _Work() as work, torch.no_grad():
        network(x, x.new_zeros(1), condition)
    return work.total


class _Work(TorchDispatchMode):
    """Counts the operations of this thread by torch's own formulas.

    torch's counter is no choice: it hooks the modules of all threads, whose gradients
    then fail.
    """

    total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
        return out


def repeated_rows(V: Tensor) -> Tensor:
    """Rows of an epoch: labelled ones several times, where they are few.

    All rows, in order, followed by copies. (n, C) -> (m,).
    """
    rows = torch.arange(len(V), device=V.device)
    is_full = (V == 1).all(1)
    n_full = int(is_full.sum())
    labelled = rows[~is_full]
    if not len(labelled):
        return rows
    wanted = LABELLED_SHARE / (1 - LABELLED_SHARE) * n_full
    copies = math.ceil(wanted / len(labelled)) - 1
    return torch.cat([rows, labelled.repeat(max(0, copies))])


@dataclass(frozen=True)
class Given:
    """Training data.

    Parameters
    ----------
    x : Tensor of shape (n, d)
    V : Tensor of shape (n, C)
    likelihood : Tensor of shape (n, C), optional
        Probability of what was given under each true class, where that is known.
    S : Tensor of shape (n, C), optional
        Beliefs to begin with.
    """

    x: Tensor
    V: Tensor
    likelihood: Tensor | None = None
    S: Tensor | None = None

    def weights(
        self, log_f: Tensor, rows: Tensor, wrong: bool, asked: Tensor | None = None
    ) -> Tensor:
        """Beliefs pi about rows, given their labels. (b, C), (b,) -> (b, C). Step 5.

        Of the classes ``asked`` alone, if there are such: (b, k) each.
        """
        if not wrong:
            return imprecise.confined(log_f, of_classes(self.V[rows], asked))
        if self.likelihood is not None:
            likelihood = of_classes(self.likelihood[rows], asked)
            return imprecise.explained(log_f, likelihood)
        return log_f.exp()


class ImpreciseTraining:
    """Trains a network on rows with imprecise labels.

    Parameters
    ----------
    objective : Objective
    levels : NoiseLevels
    n_levels : int
    given : Given
    prior : Tensor of shape (C,)
    make_trainer : callable
        ``make_trainer(batch_loss, n_rows)`` -> `Trainer`.
    """

    def __init__(
        self,
        objective: Objective,
        levels: NoiseLevels,
        n_levels: int,
        given: Given,
        prior: Tensor,
        make_trainer: Callable[[BatchLoss, int], Trainer],
    ) -> None:
        self.objective, self.levels, self.n_levels = objective, levels, n_levels
        self.given, self.prior = given, prior
        self.rows = repeated_rows(given.V)
        self.best = given.V.argmax(1)  # class that each row was last believed to be
        self.prior_epoch = 0
        self.n_first = 0.0  # updates with the beliefs of neighbours
        self.S = given.V if given.S is None else given.S
        self.means = None
        if objective.n_asked is not None and objective.n_asked < given.V.shape[1]:
            self.means = class_means(given.x, self.S)
        self.trainer = make_trainer(self.batch_loss, len(self.rows))
        self.teacher = self.trainer.teacher()

    def run(self, n_epochs: int, after_stage: Callable[[int], object]) -> None:
        """Train to the end."""
        self.n_first = FIRST_SHARE * n_epochs * self.trainer.updates_per_epoch
        train_in_stages(self.trainer, n_epochs, after_stage)

    def estimated_work(self, n_epochs: int) -> float:
        """Floating-point operations of a training of so many epochs. Section 11.

        A step forward and back takes three passes, and the teacher one.
        """
        n_asked = n_epochs * len(self.rows) * self.n_levels
        x, C = self.given.x[:1], self.given.V.shape[1]
        if self.objective.vanilla:
            mixture = x.new_full((1, 1, C), 1 / C)
            return 3.0 * n_asked * work_of_a_row(self.teacher, x, mixture)
        asked = k = None
        if self.means is not None:
            asked = self._some_classes(self.objective.n_asked)
        else:
            k = self.objective.top_k
        of_theta = of_teacher = work_of_a_row(self.teacher, x, asked)
        if k is not None and k < C:
            of_theta = work_of_a_row(self.teacher, x, self._some_classes(k))
        return n_asked * (3.0 * of_theta + of_teacher)

    def _some_classes(self, k: int | None) -> Tensor:
        """Any k classes, for one row. (1, k)."""
        assert k is not None
        return torch.arange(k, device=self.given.x.device)[None]

    def batch_loss(self, theta: nn.Module, numbers: Tensor) -> Tensor:
        """Loss of some rows of the epoch. (b,) -> scalar."""
        rows = self.rows[numbers]
        x = self.given.x[rows]
        gen = self.trainer.generator
        sigma = self.levels.draw(self.n_levels, len(x), gen).to(x).flatten()  # (T b,)
        x = x.repeat(self.n_levels, 1)
        eps = torch.randn(x.shape, generator=gen, device=x.device)
        u, c_noise, wanted = edm.asked(x, eps, sigma)
        if self.objective.vanilla:
            return self.vanilla_loss(theta, u, c_noise, wanted, self.given.V[rows])
        return self.mixture_loss(theta, u, c_noise, wanted, rows)

    def vanilla_loss(
        self, theta: nn.Module, u: Tensor, c_noise: Tensor, wanted: Tensor, V: Tensor
    ) -> Tensor:
        """Loss of EDM with what was given as the condition: a mean of tokens."""
        condition = (V / V.sum(1, keepdim=True)).repeat(self.n_levels, 1)[:, None]
        return class_errors(theta(u, c_noise, condition), wanted).mean()

    def mixture_loss(
        self, theta: nn.Module, u: Tensor, c_noise: Tensor, wanted: Tensor, rows: Tensor
    ) -> Tensor:
        """Loss of both parts, eq. (3) and (5) to (7). Steps 2 to 6."""
        asked, log_prior = self.asked(rows)
        condition = None if asked is None else asked.repeat(self.n_levels, 1)
        with torch.no_grad():
            F_phi = self.teacher(u, c_noise, condition)
            log_phi = self.posterior(class_errors(F_phi, wanted), log_prior)
            pi, target = self.weights(log_phi, rows, asked)
            self.follow(rows, pi, asked)
        classes = self.kept(pi, target, log_phi.exp())
        if classes is None:
            F = theta(u, c_noise, condition)
        else:
            pi, target = (normalised(p.gather(1, classes)) for p in (pi, target))
            log_phi = log_phi.gather(1, classes).log_softmax(1)
            F = theta(u, c_noise, classes.repeat(self.n_levels, 1))
            log_prior = self.prior.log()[classes]
        log_theta = self.posterior(class_errors(F, wanted), log_prior)
        if self.objective.wrong:
            f_theta, f_phi = log_theta.detach().exp(), log_phi.exp()
            target = imprecise.early_learning_target(target, f_theta, f_phi)
        L_gen = imprecise.mixture_loss(F, wanted, pi.repeat(self.n_levels, 1))
        L_cls = imprecise.classification_loss(target, log_theta)
        return L_gen.mean() + self.objective.cls_weight * L_cls.mean()

    def posterior(self, errors: Tensor, log_prior: Tensor) -> Tensor:
        """Log of f, from the errors at the levels drawn. (T b, K) -> (b, K). Step 4."""
        ell = -errors.unflatten(0, (self.n_levels, -1)).mean(0)
        return log_posterior(ell, log_prior, self.objective.temperature)

    def asked(self, rows: Tensor) -> tuple[Tensor | None, Tensor]:
        """Classes that rows are asked about, None for all, and their log prior.

        (b,) -> (b, k), (b, k); or None, (C,).
        """
        if self.means is None:
            return None, self.prior.log()
        given, k = self.given, self.objective.n_asked
        assert k is not None
        parts = given.x[rows], given.V[rows], self.S[rows], self.means
        asked, log_weight = asked_classes(*parts, k, self.trainer.generator)
        return asked, self.prior.log()[asked] + log_weight

    def weights(
        self, log_phi: Tensor, rows: Tensor, asked: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pi, and the target of the classes before r corrects it. Step 5."""
        if self.given.S is not None and self.trainer.n_updates < self.n_first:
            S = self.given.S[rows]
            S = S if asked is None else normalised(S.gather(1, asked))
            return S, S
        pi = self.given.weights(log_phi, rows, self.objective.wrong, asked)
        if not self.objective.wrong:
            return pi, pi
        V = of_classes(self.given.V[rows], asked)
        return pi, imprecise.confined(log_phi, V)

    def kept(self, *beliefs: Tensor) -> Tensor | None:
        """Classes asked of theta: those likeliest by one of them. (b, C) -> (b, k)."""
        k = self.objective.top_k
        if self.means is not None or k is None or k >= beliefs[0].shape[1]:
            return None
        score = torch.stack(beliefs).amax(0)
        for belief in beliefs[:2]:  # pi and the target keep their best class
            score.scatter_(1, belief.argmax(1, keepdim=True), SURELY_KEPT)
        return score.topk(k).indices

    def follow(self, rows: Tensor, pi: Tensor, asked: Tensor | None = None) -> None:
        """Let the class prior follow the beliefs, once an epoch. Section 6."""
        if not self.objective.moving_prior:
            return
        if self.trainer.n_epochs > self.prior_epoch:
            self.prior_epoch = self.trainer.n_epochs
            prior = imprecise.moved_prior(self.prior, self.best, PRIOR_KEPT)
            # Each process has seen a part of the rows lately: their means move.
            self.prior = self.trainer.processes.mean(prior)
        best = pi.argmax(1, keepdim=True)
        best = best if asked is None else asked.gather(1, best)
        self.best[rows] = best[:, 0]

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later; write it before training goes on."""
        return {
            "trainer": self.trainer.state(),
            "prior": self.prior,
            "best": self.trainer.processes.keep(self.best),
            "prior_epoch": self.prior_epoch,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.trainer.restore(state["trainer"])
        self.prior = state["prior"]
        self.best = self.trainer.processes.own(state["best"])
        self.prior_epoch = state["prior_epoch"]


def of_classes(table: Tensor, classes: Tensor | None) -> Tensor:
    """Entries of some classes, or all. (b, C), (b, k) -> (b, k)."""
    return table if classes is None else table.gather(1, classes)


def normalised(p: Tensor) -> Tensor:
    """Rows that sum to 1 again. (b, k) -> (b, k)."""
    p = p.clamp(min=torch.finfo(p.dtype).tiny)  # where all kept ones underflowed
    return p / p.sum(1, keepdim=True)
