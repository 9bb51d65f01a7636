"""The processes that share a fit, and all that they say to each other.

Every process runs the same program on the same data with the same seed. What follows
from these alone (scaling, graph, first weights, order of the rows) each computes for
itself, and finds the same. `Trainer` cuts every batch between them: the gradients of
the parts are added up, so that one update of all is one update of a single process.

A process alone says nothing: each function below then returns what it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

T = TypeVar("T")
Method = TypeVar("Method", bound=Callable[..., Any])


class LostProcessError(RuntimeError):
    """Another process of a data-parallel fit is gone, or does not answer."""


def _heard(method: Method) -> Method:
    """Decorate a method that waits for the others: their end is an error of ours."""

    @wraps(method)
    def said(self: Processes, *args: Any) -> Any:
        try:
            return method(self, *args)
        except distributed.DistError as error:
            raise self._lost(error) from error
        except RuntimeError as error:
            # gloo's errors have no class of their own.
            if type(error) is not RuntimeError:
                raise
            raise self._lost(error) from error

    return said  # type: ignore[return-value]


class Processes:
    """The processes of a data-parallel fit, seen from one of them.

    Parameters
    ----------
    rank : int
        Number of this process.
    count : int
        How many there are.
    device : torch.device
        Where the numbers lie that they exchange.

    Attributes
    ----------
    rank, count : int
    is_main : bool
        Whether this is the process that writes files and shows progress: the first.
    """

    def __init__(
        self, rank: int = 0, count: int = 1, device: torch.device | str = "cpu"
    ) -> None:
        self.rank = rank
        self.count = count
        self.is_main = rank == 0
        self._device = torch.device(device)

    # -- what is whose -----------------------------------------------------------------

    def bounds(self, n_rows: int) -> tuple[int, int]:
        """Which rows of a batch are this process's: first, and one past the last."""
        parts = torch.arange(n_rows).tensor_split(self.count)
        start = sum(map(len, parts[: self.rank]))
        return start, start + len(parts[self.rank])

    def seeded(self, seed: int) -> int:
        """Seed of the noise that this process draws. Alone it is `seed`."""
        if self.count == 1:
            return seed
        return int(np.random.SeedSequence((seed, self.rank)).generate_state(1)[0])

    # -- what they tell each other -----------------------------------------------------

    @_heard
    def add(self, tensors: Sequence[Tensor]) -> None:
        """Put the sums over all processes into tensors, in place."""
        if self.count == 1 or not tensors:
            return
        flat = self._packed(tensors)
        distributed.all_reduce(flat)
        self._unpack(flat, tensors)

    def mean(self, tensor: Tensor) -> Tensor:
        """Mean over all processes."""
        if self.count > 1:
            tensor = tensor.detach() / self.count
            self.add([tensor])
        return tensor

    @_heard
    def copy_main(self, tensors: Sequence[Tensor]) -> None:
        """Put the values that the main process has into tensors, in place."""
        if self.count == 1 or not tensors:
            return
        flat = self._packed(tensors)
        distributed.broadcast(flat, 0)
        self._unpack(flat, tensors)

    @_heard
    def of_main(self, value: T) -> T:
        """Return what the main process was given; anything that pickles."""
        if self.count == 1:
            return value
        said: list[Any] = [value]
        distributed.broadcast_object_list(said, 0, device=self._device)
        return said[0]  # type: ignore[no-any-return]

    @_heard
    def of_all(self, value: T) -> list[T]:
        """Return what every process was given, by rank; anything that pickles."""
        if self.count == 1:
            return [value]
        said: list[Any] = [None] * self.count
        distributed.all_gather_object(said, value)
        return said

    def any(self, flag: bool) -> bool:
        """Whether one of them says yes."""
        if self.count == 1:
            return flag
        found = torch.tensor([float(flag)])
        self.add([found])
        return bool(found.item())

    def check_same(self, what: str, value: Any) -> None:
        """Refuse to go on with processes that do not do the same.

        Raises
        ------
        ValueError
            In every process.
        """
        if self.count > 1 and len(set(map(repr, self.of_all(value)))) > 1:
            raise ValueError(
                f"The {self.count} processes of this data-parallel fit have different "
                f"{what}. Give all of them the same rows, labels, parameters and "
                "random_state: each takes its part of every batch by itself."
            )

    def wait(self) -> None:
        """Go on when all processes are here."""
        self.of_all(None)

    # -- what is kept in a checkpoint --------------------------------------------------

    def keep(self, value: T) -> T | list[T]:
        """Return what every process has of something, to be written by the main one."""
        return value if self.count == 1 else self.of_all(value)

    def own(self, kept: Any) -> Any:
        """Return what this process had, of what `keep` gave."""
        return kept if self.count == 1 else kept[self.rank]

    # ----------------------------------------------------------------------------------

    def _packed(self, tensors: Sequence[Tensor]) -> Tensor:
        """One message for all of them."""
        flat = torch.cat([t.detach().reshape(-1) for t in tensors])
        return flat.to(self._device)

    @staticmethod
    def _unpack(flat: Tensor, tensors: Sequence[Tensor]) -> None:
        parts = flat.split([t.numel() for t in tensors])
        with torch.no_grad():
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view(tensor.shape))

    def _lost(self, error: Exception) -> LostProcessError:
        return LostProcessError(
            f"One of the {self.count} processes of a data-parallel fit is lost: it "
            f"ended, or did not answer in time ({error}). Its own messages say why. "
            "Start all of them again; with checkpoint_dir, where the fit has one, they "
            "go on from the last state."
        )


ALONE = Processes()

# Like scikit-learn's config_context and joblib's parallel_config, not a parameter: how
# a fit is spread over machines is no property of what is fitted. Threads and processes
# started within do not inherit it, which is right: they have no part in the exchange.
_current: ContextVar[Processes] = ContextVar("processes", default=ALONE)


def current() -> Processes:
    """Return the processes that share the fits of this context."""
    return _current.get()


def share_fits(processes: Processes) -> Callable[[], None]:
    """Let these processes share the fits to come; returns what ends it."""
    token = _current.set(processes)
    return lambda: _current.reset(token)
