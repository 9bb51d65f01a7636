"""LRA-diffusion's own loop, from a checkout, run on frozen features.

Nothing of theirs is copied: ``train`` of train_CIFAR.py and what it calls run as they
are. They get features for images, and both of their encoders are ours: the identity
where theirs is a pretrained network, one linear layer where theirs is an untrained
ResNet (their optimiser trains neither). What they do beside learning is left out, to
their advantage: worker processes that load images, and the time that tests take.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

WIDTH, BATCH, N_NEIGHBORS, N_STEPS = 512, 200, 10, 10  # defaults of their command line
WARM_UP, EPOCHS = 5, 200
# Imported by their script for images, and not called here.
UNUSED = ("torchvision", "torchvision.transforms", "utils.clip_wrapper")
UNUSED += ("utils.model_SimCLR", "utils.data_utils")


@dataclass
class Trace:
    """CPU seconds of the loop so far, and the test accuracy then."""

    seconds: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)

    def reaches(self, target: float) -> float:
        """Seconds until the accuracy is first ``target``; infinite if never."""
        pairs = zip(self.seconds, self.accuracy, strict=True)
        return min((s for s, a in pairs if a >= target), default=np.inf)

    def is_below(self, target: float) -> float:
        """Seconds of the last test before that; 0 if there is none.

        Their loop tests every fifth epoch: the target may have been reached any time
        since.
        """
        reached = self.reaches(target)
        return max((s for s in self.seconds if s < reached), default=0.0)


class Stopwatch:
    """Keeps a trace by a clock that stands still during tests."""

    def __init__(self) -> None:
        self.trace, self.start = Trace(), time.process_time()

    def note(self, test: Callable[[], float]) -> None:
        """Note the time so far, and the accuracy that ``test`` returns."""
        begin = time.process_time()
        self.trace.seconds.append(begin - self.start)
        self.trace.accuracy.append(test())
        self.start += time.process_time() - begin


class Rows(Dataset):
    """Features, labels and row numbers."""

    def __init__(self, X: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        self.X, self.targets = torch.as_tensor(X), y.tolist()

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int, int]:
        return self.X[i], self.targets[i], i


@contextmanager
def imported(checkout: Path) -> Iterator[ModuleType]:
    """Their train_CIFAR, imported without what only images need."""
    if not (checkout / "train_CIFAR.py").exists():
        raise FileNotFoundError(
            f"{checkout} is no checkout of puar-playground/LRA-diffusion: it has no "
            "train_CIFAR.py."
        )
    stubs = {name: MagicMock() for name in UNUSED}
    with patch.dict(sys.modules, stubs), patch.object(sys, "path", [str(checkout)]):
        import train_CIFAR  # type: ignore[import-not-found]

        yield train_CIFAR


def make_model(script: ModuleType, n_features: int, n_classes: int) -> Any:
    """Their model around features."""
    with patch("utils.ResNet_for_32.resnet18", lambda **_: nn.Identity()):
        model = script.Diffusion(
            fp_encoder=nn.Identity(),
            n_class=n_classes,
            fp_dim=n_features,
            feature_dim=WIDTH,
            device="cpu",
            encoder_type="resnet18",
            ddim_num_steps=N_STEPS,
        )
    model.diffusion_encoder = nn.Linear(n_features, WIDTH)
    return model


def run(
    checkout: Path,
    X: NDArray[np.float32],
    y: NDArray[np.int64],
    X_test: NDArray[np.float32],
    y_test: NDArray[np.int64],
    epochs: int = EPOCHS,
) -> tuple[Trace, Any]:
    """Train their model; returns its trace and the model."""
    with imported(checkout) as script:
        torch.manual_seed(0)
        model = make_model(script, X.shape[1], int(y.max()) + 1)

        def test(model: Any, _: Any) -> float:
            watch.note(lambda: float(np.mean(predict(model, X_test) == y_test)))
            return 0.0  # never a new best: they would test again, and save

        patches = {
            "test": test,
            "tqdm": partial(tqdm, disable=True),
            "data": SimpleNamespace(DataLoader=_in_this_process),
            "prepare_fp_x": lambda *_, **__: torch.as_tensor(X),
            "batch_size": BATCH,
            "fp_dim": X.shape[1],
            "device": "cpu",
        }
        args = SimpleNamespace(nepoch=epochs, k=N_NEIGHBORS, warmup_epochs=WARM_UP)
        rows = Rows(X, y)
        watch = Stopwatch()
        with (
            patch.multiple(script, create=True, **patches),
            redirect_stdout(StringIO()),
        ):
            script.train(model, rows, rows, rows, None, args, real_fp=False)
            test(model, None)
    return watch.trace, model


def predict(model: Any, X: NDArray[np.float32]) -> NDArray[np.int64]:
    """Classes by their deterministic chain, in their batches.

    Their own test takes an item of a number, and stops with an error. As there, the
    class is the one nearest to 1.
    """
    model.model.eval()
    batches = torch.as_tensor(X).split(BATCH)
    labels = torch.cat([model.reverse_ddim(x, stochastic=False) for x in batches])
    return (labels - 1).square().argmin(1).numpy()


def _in_this_process(rows: Rows, *, num_workers: int, **settings: Any) -> DataLoader:
    """Load without worker processes, which for features cost more than they save."""
    return DataLoader(rows, **settings)
