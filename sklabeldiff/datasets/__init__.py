"""Data: fetchers of real sets, generators of candidate sets and of wrong labels."""

from sklabeldiff.datasets._candidates import make_candidate_sets
from sklabeldiff.datasets._cifar import fetch_cifar10, fetch_cifar100
from sklabeldiff.datasets._cifar10h import fetch_cifar10h
from sklabeldiff.datasets._cifar10n import fetch_cifar10n, fetch_cifar100n
from sklabeldiff.datasets._fetch_pll import fetch_pll
from sklabeldiff.datasets._labelme import fetch_labelme
from sklabeldiff.datasets._loaders import load_pll
from sklabeldiff.datasets._mnist import fetch_fashion_mnist, fetch_mnist
from sklabeldiff.datasets._music_genre import fetch_music_genre
from sklabeldiff.datasets._noise import make_noisy_labels
from sklabeldiff.datasets._plcifar10 import fetch_plcifar10
from sklabeldiff.datasets._sentiment import fetch_sentiment

__all__ = [
    "fetch_cifar10",
    "fetch_cifar10h",
    "fetch_cifar10n",
    "fetch_cifar100",
    "fetch_cifar100n",
    "fetch_fashion_mnist",
    "fetch_labelme",
    "fetch_mnist",
    "fetch_music_genre",
    "fetch_plcifar10",
    "fetch_pll",
    "fetch_sentiment",
    "load_pll",
    "make_candidate_sets",
    "make_noisy_labels",
]
