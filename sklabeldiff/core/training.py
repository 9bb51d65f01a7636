"""The one training loop: skorch runs it, a batch loss defines what is learnt.

`Trainer` owns the network, its averaged copy, the optimiser and the generator, and
runs a number of epochs at a time, so that a method can look at its beliefs in
between. It does not know what a label is.

Data stays on the device: a batch is one index operation, with no Python per row.
Nothing draws from torch's global generator.

Where several processes share the fit (`processes`), each takes its part of a batch, and
an update is that of the whole batch. The gradients are added up here and not by torch's
DistributedDataParallel: it knows of one call of a network in an update, and ours are
called twice, asked for features, or penalised without a call.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler

from . import processes as shared
from .blocks import make_room
from .processes import ALONE, Processes

BatchLoss = Callable[[nn.Module, Tensor], Tensor]
Decay = float | Callable[[int], float]
ParameterGroups = list[tuple[str, dict[str, float]]]

GRADIENT_NORM = 1.0  # LRA's clip
MIN_PART_ROWS = 3  # of a batch that memory is short for: batch norm wants several
WARM_UP = 0.05  # share of the planned updates
EMA_HORIZON = 10.0  # early on, the average forgets its random start faster
# max_epochs="auto" of a classifier: whichever ends first.
AUTO_EPOCHS, MAX_UPDATES = 200, 3000
DECAY_SHARE = 0.2  # of the epochs, at the end
N_STAGES = 20  # after each of them a caller is told
SPARED_BIASES: ParameterGroups = [("*.bias", {"weight_decay": 0.0})]


class RowIndex(Dataset):
    """The rows of a table by number: the table itself is already on the device."""

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.n_rows

    def __getitem__(self, rows: Tensor) -> tuple[Tensor, None]:
        """Return a batch of row numbers, and no target: the loss looks both up."""
        return rows, None


class EpochBatches(Sampler):
    """Shuffled batches of row numbers, of equal size up to one row."""

    def __init__(
        self, n_rows: int, batch_size: int, generator: torch.Generator
    ) -> None:
        self.n_rows = n_rows
        self.n_batches = n_batches(n_rows, batch_size)
        self.generator = generator

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.n_batches

    def __iter__(self) -> Iterator[Tensor]:
        """Yield one int64 tensor a batch."""
        device = self.generator.device
        order = torch.randperm(self.n_rows, generator=self.generator, device=device)
        yield from order.tensor_split(self.n_batches)


def n_batches(n_rows: int, batch_size: int) -> int:
    """Count the batches of an epoch, which are as near to ``batch_size`` as can be."""
    return max(1, round(n_rows / batch_size))


def n_epochs(max_epochs: int | str, n_rows: int, batch_size: int) -> int:
    """Return max_epochs, with a number for "auto"."""
    if not isinstance(max_epochs, str):
        return max_epochs
    return max(1, min(AUTO_EPOCHS, MAX_UPDATES // n_batches(n_rows, batch_size)))


def as_is(batch: Any) -> Any:
    """Collate function: batches arrive whole."""
    return batch


class _Net(NeuralNet):
    """skorch's loop with a loss over (module, rows) and without per-batch transfers."""

    most_rows = 2**62  # that go through the network together

    def __init__(
        self,
        *args: Any,
        batch_loss: BatchLoss,
        processes: Processes = ALONE,
        **kwargs: Any,
    ) -> None:
        self.batch_loss = batch_loss
        self.processes = processes
        super().__init__(*args, **kwargs)

    @property
    def _default_callbacks(self) -> list[Any]:
        return []

    def train_step_single(self, batch: Any, **fit_params: Any) -> dict[str, Tensor]:
        rows = batch[0]
        start, stop = self.processes.bounds(len(rows))
        loss = self.split_loss(rows[start:stop])
        return {"loss": loss, "y_pred": loss}

    def split_loss(self, rows: Tensor) -> Tensor:
        """Loss of a batch, with its gradients; in parts if memory is short.

        The parts' gradients add up to that of the batch, but for what rows of a batch
        have to do with each other (batch norm, contrast).
        """
        try:
            if len(rows) <= self.most_rows:
                loss = self.batch_loss(self.module_, rows)
                loss.backward()
                return loss
            total = torch.zeros((), device=rows.device)
            for part in rows.split(self.most_rows):
                loss = self.batch_loss(self.module_, part) * (len(part) / len(rows))
                loss.backward()
                total += loss.detach()
            return total
        except torch.OutOfMemoryError:
            fewest = min(self.most_rows, len(rows))
            if fewest < 2 * MIN_PART_ROWS:
                raise
        self.module_.zero_grad()
        self.most_rows = make_room(fewest)
        return self.split_loss(rows)

    def run_single_epoch(
        self,
        iterator: Any,
        training: bool,
        prefix: str,
        step_fn: Any,
        **fit_params: Any,
    ) -> None:
        # As skorch's, but the losses leave the device, and modules change their mode,
        # once an epoch, not once a batch.
        if iterator is None:  # no rows are held out
            return
        self._set_training(training)
        losses = []
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            losses.append(step["loss"].detach())
            self.notify("on_batch_end", batch=batch, training=training, **step)
        loss = self.processes.mean(torch.stack(losses).mean())
        self.history.record(prefix + "_loss", loss.item())


class DivergedError(ValueError):
    """The loss is no number any more."""


def diverged(learning_rate: float) -> DivergedError:
    """Error to raise then. Made here: an error with other arguments does not pickle."""
    return DivergedError(
        "training diverged: the loss or a weight is not finite. Lower learning_rate "
        f"(it is {learning_rate:g}), or check the scale of X."
    )


class EpochListener(Protocol):
    """Is told when epochs begin and end, and may end the training."""

    def begin_epoch(self) -> None:
        """Hear that an epoch begins."""

    def end_epoch(self, trainer: Trainer) -> bool:
        """Hear that an epoch has ended; return whether it shall be the last."""


class _Stop(Exception):
    """Leaves skorch's loop when a listener ends the training."""


class Trainer:
    """Train a network a few epochs at a time.

    Parameters
    ----------
    module : nn.Module
        On its device, with its weights drawn.
    batch_loss : callable
        ``batch_loss(module, rows)`` -> scalar loss of the rows (int64, on the device).
    n_rows : int
    generator : torch.Generator
        Of the module's device. Orders the rows, and draws whatever the loss needs.
    batch_size : int
    learning_rate : float
        Peak rate: linear warm-up, then constant, then a half cosine (see `decay`).
    weight_decay : float
        Decoupled; see ``parameter_groups`` for what is spared.
    ema : float or callable
        Decay of the averaged weights per update, which are the ones to predict with;
        a callable is told the number of updates so far. A number is approached from
        below, a callable is taken at its word.
    planned_updates : int
        Updates foreseen; sets the length of the warm-up.
    parameter_groups : list of (str, dict)
        Patterns of parameter names and the optimiser's settings for them, where
        "lr_scale" multiplies the rate. By default biases are spared from weight decay.
    listener : EpochListener, optional
        When it ends the training, `stopped` is True and nothing more should be run.
    tables : sequence of Tensor of shape (n_rows, ...)
        What the loss notes of its rows, and other processes have to know.

    Notes
    -----
    Where several processes share the fit, ``generator`` is seeded anew, for each in its
    own way, and the rows are ordered by another one, for all in the same way.
    """

    def __init__(
        self,
        module: nn.Module,
        batch_loss: BatchLoss,
        n_rows: int,
        generator: torch.Generator,
        *,
        batch_size: int,
        learning_rate: float,
        weight_decay: float,
        ema: Decay,
        planned_updates: int,
        parameter_groups: ParameterGroups = SPARED_BIASES,
        listener: EpochListener | None = None,
        tables: Sequence[Tensor] = (),
    ) -> None:
        self.processes = shared.current()
        self.listener = listener
        self.stopped = False
        self.generator = generator
        self._order = self._split_generator()
        self._tables = tables
        self.ema = ema
        self.learning_rate = learning_rate
        self.warm_up = max(1, round(WARM_UP * planned_updates))
        self.n_updates = 0
        self.n_epochs = 0
        self.decay_window = (math.inf, math.inf)
        self.losses: list[float] = []
        self.averaged = {k: v.clone() for k, v in self._moving(module).items()}
        batches = EpochBatches(n_rows, batch_size, self._order)
        self.updates_per_epoch = len(batches)
        self._check_parts(n_rows // len(batches))
        self._rows = RowIndex(n_rows)
        self._net = _Net(
            module,
            criterion=nn.MSELoss,  # not used: skorch wants one
            optimizer=torch.optim.AdamW,
            optimizer__param_groups=parameter_groups,
            optimizer__weight_decay=weight_decay,
            optimizer__fused=True,
            lr=learning_rate,
            batch_size=None,
            train_split=None,
            callbacks=[("trainer", _TrainerCallback(self))],
            verbose=0,
            device=None,
            batch_loss=batch_loss,
            processes=self.processes,
            iterator_train__sampler=batches,
            # Shuffling is the sampler's; this only seeds workers, of which none exist,
            # but without it the loader would draw from the global stream.
            iterator_train__generator=torch.Generator(),
            iterator_train__collate_fn=as_is,
        ).initialize()
        # Looked up once: walking through the modules costs as much as a layer.
        self.parameters = list(self.module.parameters())
        self._current = list(self._moving(self.module).values())
        # What batch norms gather, each process from its own rows.
        self._statistics = self._gathered(self.module)

    def _split_generator(self) -> torch.Generator:
        """Return what orders the rows; of several processes, each has its own noise."""
        if self.processes.count == 1:
            return self.generator
        seed = self.generator.initial_seed()
        self.processes.check_same("random_state", seed)
        self.generator.manual_seed(self.processes.seeded(seed))
        return torch.Generator(self.generator.device).manual_seed(seed)

    def _check_parts(self, n_rows: int) -> None:
        """Refuse batches that are too small to be cut between all processes."""
        count = self.processes.count
        if count > 1 and n_rows < count * MIN_PART_ROWS:
            raise ValueError(
                f"An update has {n_rows} rows, too few for {count} processes: each "
                f"needs at least {MIN_PART_ROWS}. Raise batch_size, or start fewer "
                "processes."
            )

    @staticmethod
    def _gathered(module: nn.Module) -> list[Tensor]:
        return [b for b in module.buffers() if b.is_floating_point()]

    @property
    def module(self) -> nn.Module:
        """The network with the weights of the last update."""
        return self._net.module_

    def has_learnt(self) -> bool:
        """Whether there was an epoch yet."""
        return self.n_epochs > 0

    def run(self, n_epochs: int) -> float:
        """Train ``n_epochs`` more epochs; returns the mean loss of the last one.

        Raises
        ------
        KeyboardInterrupt
            When interrupted; the weights of the last update are kept.
        DivergedError
            If the loss or a weight is not finite.
        """
        before = self.n_epochs
        place = self.updates_per_epoch, n_epochs, self.n_updates
        self.processes.check_same("rows or parameters", place)
        self.processes.copy_main(self._weights())
        try:
            self._net.partial_fit(self._rows, epochs=n_epochs)
        except _Stop:
            self.stopped = True
        if self.n_epochs < before + n_epochs and not self.stopped:
            # skorch ends a fit quietly on Ctrl-C; a search around it must stop too.
            raise KeyboardInterrupt
        self.processes.copy_main(self._weights())  # of machines that round otherwise
        # The loss is from before the last update, the weights are from after it.
        weights = torch.stack(torch._foreach_norm(list(self.averaged.values())))
        if not math.isfinite(self.losses[-1] + weights.sum().item()):
            raise diverged(self.learning_rate)
        return self.losses[-1]

    def _weights(self) -> list[Tensor]:
        """Return all that moves: in use, and averaged."""
        return [*self._moving(self.module).values(), *self.averaged.values()]

    def decay(self, n_epochs: int) -> None:
        """Let the rate fall to zero over the next ``n_epochs`` epochs."""
        length = n_epochs * self.updates_per_epoch
        self.decay_window = (self.n_updates, self.n_updates + length)

    def rate(self) -> float:
        """Learning rate of the next update."""
        start, end = self.decay_window
        peak = self.learning_rate * min(1.0, (self.n_updates + 1) / self.warm_up)
        if self.n_updates < start:
            return peak
        progress = (self.n_updates - start) / max(1, end - start)
        return 0.5 * peak * (1 + math.cos(math.pi * min(1.0, progress)))

    def state(self) -> dict[str, Any]:
        """Everything needed to go on later, bit for bit.

        References, not copies: write it before training goes on.
        """
        return {
            "module": self.module.state_dict(),
            "averaged": self.averaged,
            "optimizer": self._net.optimizer_.state_dict(),
            "generator": self.processes.keep(self.generator.get_state()),
            "order": self._order.get_state(),
            "n_updates": self.n_updates,
            "n_epochs": self.n_epochs,
            "decay_window": self.decay_window,
            "losses": list(self.losses),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.module.load_state_dict(state["module"])
        for name, averaged in self.averaged.items():
            averaged.copy_(state["averaged"][name])  # a teacher shares it
        self._net.optimizer_.load_state_dict(state["optimizer"])
        # States of generators of any device are arrays on the CPU.
        self.generator.set_state(self.processes.own(state["generator"]).cpu())
        if self.processes.count > 1:
            self._order.set_state(state["order"].cpu())
        self.n_updates = state["n_updates"]
        self.n_epochs = state["n_epochs"]
        self.decay_window = tuple(state["decay_window"])
        self.losses = list(state["losses"])

    @staticmethod
    def _moving(module: nn.Module) -> dict[str, Tensor]:
        """Weights and statistics, without batch norm's counters."""
        state = module.state_dict()
        return {k: v for k, v in state.items() if v.is_floating_point()}

    def averaged_module(self) -> nn.Module:
        """Return a copy of the network with the averaged weights, ready to predict."""
        module = copy.deepcopy(self.module)
        module.load_state_dict(self.averaged, strict=False)
        return module.eval()

    def teacher(self, *, own_statistics: bool = False) -> nn.Module:
        """Return a network that has the averaged weights, now and after any update.

        With ``own_statistics`` nothing else of it follows the network: what its batch
        norms gather is left to who runs it.
        """
        module = self.averaged_module()
        moving, current = self._moving(module), self._moving(self.module)
        if own_statistics:
            moving = {name: moving[name] for name, _ in module.named_parameters()}
        self.averaged = moving
        self._current = [current[name] for name in moving]
        if own_statistics:
            self._statistics += self._gathered(module)
        return module

    def agree(self, rows: Tensor) -> None:
        """Make gradients and notes those of the whole batch, in every process. (b,).

        Which weights have a gradient does not depend on the rows, so that all processes
        add up the same ones.
        """
        if self.processes.count == 1:
            return
        start, stop = self.processes.bounds(len(rows))
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        notes = [
            table.new_zeros((len(rows), *table.shape[1:])) for table in self._tables
        ]
        for note, table in zip(notes, self._tables, strict=True):
            note[start:stop] = table[rows[start:stop]]
        means = [*gradients, *self._statistics]
        torch._foreach_mul_(means, (stop - start) / len(rows))
        self.processes.add([*means, *notes])
        for note, table in zip(notes, self._tables, strict=True):
            table[rows] = note

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the averaged weights towards the current ones."""
        if callable(self.ema):
            keep = self.ema(self.n_updates)
        else:
            horizon = (1 + self.n_updates) / (EMA_HORIZON + self.n_updates)
            keep = min(self.ema, horizon)
        averaged = list(self.averaged.values())
        torch._foreach_lerp_(averaged, self._current, 1 - keep)


def train_in_stages(
    trainer: Trainer, n_epochs: int, after_stage: Callable[[int], object]
) -> None:
    """Train for all epochs, those done before aside; the rate falls over the last ones.

    ``after_stage`` is told how many epochs have passed since it was last called.
    """
    last = max(1, round(DECAY_SHARE * n_epochs))
    stage = max(1, n_epochs // N_STAGES)
    for end in (n_epochs - last, n_epochs):
        decays = trainer.decay_window[0] < math.inf  # of a training that is resumed
        if end == n_epochs and not decays:
            trainer.decay(last)
        while trainer.n_epochs < end and not trainer.stopped:
            before = trainer.n_epochs
            trainer.run(min(stage, end - before))
            after_stage(trainer.n_epochs - before)


class _TrainerCallback(Callback):
    """Ties skorch's loop to its `Trainer`: rate, clipping, averaging, counting."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        if self.trainer.listener is not None:
            self.trainer.listener.begin_epoch()

    def on_batch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        rate = self.trainer.rate()
        for group in net.optimizer_.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)

    def on_grad_computed(
        self, net: NeuralNet, batch: Any = None, **kwargs: Any
    ) -> None:
        self.trainer.agree(batch[0])
        nn.utils.clip_grad_norm_(self.trainer.parameters, GRADIENT_NORM)

    def on_batch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        self.trainer.update_average()
        self.trainer.n_updates += 1

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        trainer = self.trainer
        trainer.n_epochs += 1
        trainer.losses.append(net.history[-1, "train_loss"])
        stop = trainer.listener is not None and trainer.listener.end_epoch(trainer)
        if trainer.processes.any(stop):
            raise _Stop
