"""Small problems that the tests of the numerics share."""

from types import SimpleNamespace

import pytest
import torch

N_CLASSES = 3


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def blobs():
    """Three separable classes in the plane, each row with up to one distractor.

    n = 90, p = 2, C = 3. X and the beliefs are float32, as in the package.
    """
    gen = torch.Generator().manual_seed(0)
    y = torch.arange(90) % N_CLASSES
    centres = torch.tensor([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])
    X = centres[y] + 0.3 * torch.randn((90, 2), generator=gen)
    truth = torch.nn.functional.one_hot(y, N_CLASSES).bool()
    shift = torch.randint(N_CLASSES, (90,), generator=gen)  # 0: a singleton
    Y = truth | torch.nn.functional.one_hot((y + shift) % N_CLASSES, N_CLASSES).bool()
    Ybar = Y.float() / Y.sum(1, keepdim=True)
    return SimpleNamespace(X=X, y=y, Y=Y, Ybar=Ybar, truth=truth.float())
