"""content_hash: equal for copies, in every process; another for another content."""

import copy
import pickle
import subprocess
import sys
import threading

import pytest
import torch
from torch import nn

from sklabeldiff.features._content import content_hash


def network(scale=1.0):
    """A small network with weights, statistics and an attribute."""
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    with torch.no_grad():
        for weight in module.parameters():
            weight.fill_(scale)
    module.scale = scale
    return module


def scaled_by(factor):
    return lambda x: x * factor


def shift(x, by=1):
    return x + by


def shift_more(x, by=2):
    return x + by


COPIES = {
    "deep copy": copy.deepcopy,
    "pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "made anew": lambda module: network(),
    "in evaluation mode": lambda module: copy.deepcopy(module).eval(),
    "frozen twice": lambda module: copy.deepcopy(module).requires_grad_(True),
}


@pytest.mark.parametrize("way", COPIES)
def test_copies_have_one_name(way):
    assert content_hash(COPIES[way](network())) == content_hash(network())


def test_module_is_left_as_it_is():
    module = network()
    content_hash(module)
    assert module.training
    assert all(weight.requires_grad for weight in module.parameters())


def test_hooks_count_by_what_they_do_and_not_by_their_number():
    one, two, other = network(), network(), network()
    for module, hook in ((one, shift), (two, shift), (other, shift_more)):
        module.register_forward_hook(hook)
    assert content_hash(one) == content_hash(two) != content_hash(network())
    assert content_hash(other) != content_hash(one)


def changed(change):
    module = network()
    with torch.no_grad():
        change(module)
    return module


CHANGES = {
    "weight": lambda m: m[0].weight.view(-1)[0].add_(1),
    "statistics": lambda m: m[1].running_mean.add_(1),
    "attribute": lambda m: setattr(m, "scale", 2.0),
    "layer": lambda m: m.append(nn.ReLU()),
    "setting of a layer": lambda m: setattr(m[0], "stride", (2, 2)),
    "precision": lambda m: m.half(),
    "hidden buffer": lambda m: m.register_buffer("b", torch.ones(1), persistent=False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_gives_another_name(change):
    assert content_hash(changed(CHANGES[change])) != content_hash(network())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (torch.zeros(0), torch.zeros(0, 3)),
        (scaled_by(2), scaled_by(3)),
        (lambda x: x + 1, lambda x: x + 2),
        (lambda x: x.exp(), lambda x: x.log()),
        (shift, shift_more),
        (nn.ReLU, nn.GELU),
        (None, 0),
    ],
    ids=range(9),
)
def test_other_things_have_other_names(one, other):
    assert content_hash(one) == content_hash(copy.deepcopy(one))
    assert content_hash(one) != content_hash(other)


def test_default_of_an_argument_counts():
    def one(x, by=1):
        return x + by

    other = type(one)(one.__code__, {}, one.__name__, (2,))
    other.__module__, other.__qualname__ = one.__module__, one.__qualname__
    assert content_hash(one) != content_hash(other)


def test_sparse_tensors_and_tensors_of_half_precision_have_names():
    sparse = torch.eye(3).to_sparse()
    assert content_hash(sparse) == content_hash(torch.eye(3).to_sparse())
    assert content_hash(torch.ones(2, dtype=torch.bfloat16)) != content_hash(sparse)


IN_ANOTHER_PROCESS = """
import torch
from torch import nn
from sklabeldiff.features._content import content_hash
module = nn.Sequential(nn.Linear(2, 1), nn.ReLU())
nn.init.ones_(module[0].weight), nn.init.zeros_(module[0].bias)
module[0].names = {"b", "a", "c"}
print(content_hash([module, "text", 1.5]))
"""


def test_name_is_the_same_in_every_process():
    words = [sys.executable, "-c", IN_ANOTHER_PROCESS]
    runs = [subprocess.run(words, capture_output=True, text=True) for _ in range(3)]
    assert runs[0].stdout
    assert len({run.stdout for run in runs}) == 1


def test_what_cannot_be_pickled_is_refused_with_a_remedy():
    module = network()
    module.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"cannot be told .*lock.*cache_dir=None"):
        content_hash(module)
