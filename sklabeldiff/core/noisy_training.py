"""How the networks behind wrong labels are trained: on some rows, watched on others.

A network that goes on long enough learns every wrong label by heart. The held-out rows
have wrong labels too, but other ones: the state under which theirs are most likely is
kept (section 7 of DTM's method page).

    V   (n, C)  what was given, see `group_transitions`
    c   (n, C)  columns, see `noisy_classifier`
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .blocks import in_blocks
from .group_transitions import is_labelled
from .noisy_classifier import PARAMETER_GROUPS, VolumeMinimisation, forward_loss
from .training import (
    SPARED_BIASES,
    DivergedError,
    EpochListener,
    ParameterGroups,
    Trainer,
    diverged,
    n_batches,
    train_in_stages,
)

# max_epochs="auto": so many updates, within these numbers of epochs. Four times as many
# changed no accuracy by a point: the state that is kept is mostly an early one.
AUTO_UPDATES, MIN_EPOCHS, MAX_EPOCHS = 500, 20, 100
EMA = 0.99
WEIGHT_DECAY = 0.01
PAPER_HELD_OUT = 10  # rows of each given class
CHUNK = 1024  # held-out rows whose loss is taken at a time

RowLoss = Callable[[nn.Module, Tensor], Tensor]
Penalty = Callable[[nn.Module], Tensor]


class InterruptedTraining(KeyboardInterrupt):
    """Ctrl-C, after which the network is the best one so far.

    Parameters
    ----------
    losses : list of float
        Of the epochs until then.
    """

    def __init__(self, losses: list[float]) -> None:
        super().__init__(losses)
        self.losses = losses


def _ignore(n_epochs: int) -> None:
    """Tell nobody."""


def auto_epochs(max_epochs: int | str, n_rows: int, batch_size: int) -> int:
    """Return max_epochs, with a number for "auto"."""
    if not isinstance(max_epochs, str):
        return max_epochs
    epochs = AUTO_UPDATES // n_batches(n_rows, batch_size)
    return min(max(epochs, MIN_EPOCHS), MAX_EPOCHS)


def split_rows(
    V: Tensor, held_out: float | str, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Rows to train on and rows to watch, all labelled. (n, C) -> (m,), (h,).

    Parameters
    ----------
    V : Tensor of shape (n, C)
    held_out : float or "per_class"
        Share of the labelled rows of each given class, or ten of each and at most half
        of a class, as the paper has it. Of a set the first class counts.
    generator : torch.Generator
    """
    order = torch.randperm(len(V), generator=generator)
    order = order[is_labelled(V)[order].cpu()]
    given = V[order].argmax(1).cpu()
    held = torch.zeros(len(V), dtype=torch.bool)
    for j in given.unique():
        rows = order[given == j]
        if held_out == "per_class":
            n = min(PAPER_HELD_OUT, len(rows) // 2)
        else:
            n = round(float(held_out) * len(rows))
        held[rows[:n]] = True
    rows, labelled = torch.arange(len(V)), is_labelled(V).cpu()
    return rows[labelled & ~held].to(V.device), rows[held].to(V.device)


@dataclass(frozen=True)
class WatchedTraining:
    """Trains networks on some rows and keeps the state that is best on others.

    Parameters
    ----------
    train, held : Tensor of row numbers
        Without held-out rows the last state is kept.
    max_epochs : int or "auto"
    batch_size : int
    learning_rate : float
    seed : int
        Of the order of the rows.
    after_stage : callable
        Is told the epochs that have passed since it was last called.
    listener : EpochListener, optional
        Is told of every epoch of every training, and may end one.
    """

    train: Tensor
    held: Tensor
    max_epochs: int | str
    batch_size: int
    learning_rate: float
    seed: int
    after_stage: Callable[[int], object] = _ignore
    listener: EpochListener | None = None

    def n_epochs(self, share: float = 1.0) -> int:
        """Epochs of a training that may take ``share`` of the budget."""
        epochs = auto_epochs(self.max_epochs, len(self.train), self.batch_size)
        return max(1, round(share * epochs))

    def __call__(
        self,
        module: nn.Module,
        row_loss: RowLoss,
        *,
        penalty: Penalty | None = None,
        share: float = 1.0,
        parameter_groups: ParameterGroups = SPARED_BIASES,
    ) -> tuple[float, list[float]]:
        """Train ``module`` in place.

        Returns
        -------
        loss : float
            Mean loss of the held-out rows under the state that was kept; NaN without
            held-out rows.
        history : list of float
            Mean training loss of each epoch.

        Raises
        ------
        InterruptedTraining
            On Ctrl-C, if there is a state to keep.
        """

        def batch_loss(module: nn.Module, rows: Tensor) -> Tensor:
            loss = row_loss(module, self.train[rows]).mean()
            return loss if penalty is None else loss + penalty(module)

        epochs = self.n_epochs(share)
        trainer = Trainer(
            module,
            batch_loss,
            len(self.train),
            torch.Generator(self.train.device).manual_seed(self.seed),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=WEIGHT_DECAY,
            ema=EMA,
            planned_updates=epochs * n_batches(len(self.train), self.batch_size),
            parameter_groups=parameter_groups,
            listener=self.listener,
        )
        watch = _Watch(module, row_loss, self.held)

        def after_stage(n_epochs: int) -> None:
            watch.look(trainer.averaged)
            self.after_stage(n_epochs)

        try:
            train_in_stages(trainer, epochs, after_stage)
        except KeyboardInterrupt:
            if not watch.best_state:
                raise
            watch.keep_best(module)
            raise InterruptedTraining(trainer.losses) from None
        except DivergedError:
            pass  # there may be a state from before
        if not watch.best_state:
            raise diverged(self.learning_rate)
        watch.keep_best(module)
        return watch.best_loss, trainer.losses


class _Watch:
    """Keeps the averaged weights under which held-out rows had the least loss."""

    def __init__(self, module: nn.Module, row_loss: RowLoss, held: Tensor) -> None:
        self.copy = copy.deepcopy(module).eval()
        self.row_loss = row_loss
        self.held = held
        self.best_loss = torch.inf
        self.best_state: dict[str, Tensor] = {}

    @torch.no_grad()
    def look(self, averaged: dict[str, Tensor]) -> None:
        """Compare the weights of now with the best ones."""
        loss = torch.nan  # without held-out rows the last state counts
        if len(self.held):
            self.copy.load_state_dict(averaged, strict=False)
            chunks = self.held.split(CHUNK)
            losses = torch.cat([self.row_loss(self.copy, rows) for rows in chunks])
            loss = losses.mean().item()
        if loss < self.best_loss or not len(self.held):
            self.best_loss = loss
            self.best_state = {k: v.clone() for k, v in averaged.items()}

    def keep_best(self, module: nn.Module) -> None:
        """Put the best weights into the module, ready to predict."""
        module.load_state_dict(self.best_state, strict=False)
        module.eval()


def train_forward(
    training: WatchedTraining,
    network: nn.Module,
    e: Tensor,
    c: Tensor,
    *,
    share: float = 1.0,
    fresh_columns: Callable[[Tensor], Tensor] | None = None,
) -> tuple[float, list[float]]:
    """Train a forward-corrected classifier, (7), in place. (n, p), (n, C).

    ``fresh_columns(rows)`` replaces the columns in every update, but not where held-out
    rows are watched.
    """

    def row_loss(network: nn.Module, rows: Tensor) -> Tensor:
        drawn = fresh_columns if network.training else None
        columns = c[rows] if drawn is None else drawn(rows)
        return forward_loss(network(e[rows]), columns)

    return training(network, row_loss, share=share)


def train_volume_minimisation(
    training: WatchedTraining,
    network: nn.Module,
    e: Tensor,
    V: Tensor,
    volume_penalty: float,
) -> tuple[Tensor, list[float]]:
    """VolMinNet: trains ``network`` in place, returns T_0 (C, C) and the losses."""
    model = VolumeMinimisation(network, V.shape[1]).to(e.device)

    def row_loss(model: nn.Module, rows: Tensor) -> Tensor:
        return model(e[rows], V[rows])

    def penalty(module: nn.Module) -> Tensor:
        return volume_penalty * model.volume()

    _, losses = training(
        model, row_loss, penalty=penalty, parameter_groups=PARAMETER_GROUPS
    )
    return model.transition().detach(), losses


@torch.inference_mode()
def network_proba(network: nn.Module, e: Tensor) -> Tensor:
    """Softmax of a network's answers. (n, p) -> (n, C)."""
    return in_blocks(lambda rows: network(rows).softmax(1), e)
