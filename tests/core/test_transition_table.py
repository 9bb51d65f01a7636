"""Coordinates of the group table: lossless, weighted by size, cut by energy."""

import pytest
import torch
from torch.testing import assert_close

from sklabeldiff.core.transition_table import full_table, principal_table


def groups(generator, n_groups, n_classes):
    W = torch.randn((n_groups, n_classes, n_classes), generator=generator)
    share = torch.rand((n_groups,), generator=generator) + 0.1
    return W, share / share.sum()


@pytest.mark.parametrize(("n_groups", "n_classes"), [(12, 4), (40, 4), (2, 3), (1, 3)])
def test_all_components_lose_nothing(generator, n_groups, n_classes):  # check 12
    W, share = groups(generator, n_groups, n_classes)
    table = principal_table(W, share, energy=1)
    assert table.n_coordinates == min(n_groups - 1, n_classes**2)
    assert_close(table.weights(table.z), W, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [principal_table, full_table])
def test_coordinates_are_standardised_over_rows(generator, make):
    W, share = groups(generator, 12, 3)
    z = make(W, share).z
    assert_close(share @ z, torch.zeros(z.shape[1]), rtol=0, atol=1e-5)
    assert_close(share @ z.square(), torch.ones(z.shape[1]), rtol=0, atol=1e-4)


def test_full_coordinates_lose_nothing(generator):
    W, share = groups(generator, 12, 3)
    W[:, 0, 1] = 0.25  # an entry alike in all groups
    table = full_table(W, share)
    assert table.n_coordinates == 9
    assert_close(table.weights(table.z), W, rtol=0, atol=1e-5)


def test_energy_cuts_small_components(generator):
    W, share = groups(generator, 30, 3)
    flat = 1e-3 * W.flatten(1)
    flat[:, :2] = 10 * W.flatten(1)[:, :2]  # two directions hold nearly everything
    table = principal_table(flat.reshape(W.shape), share, energy=0.99)
    assert table.n_coordinates <= 2
    assert principal_table(W, share, max_components=3).n_coordinates == 3


def test_equal_groups_have_no_coordinates():
    W = torch.ones((5, 3, 3))
    table = principal_table(W, torch.full((5,), 0.2))
    assert table.n_coordinates == 0
    assert_close(table.weights(table.z), W)


def test_means_agree_between_principal_and_full_coordinates(generator):  # check 12
    # A linear map of coordinates (the best predictor of Gaussian data is one) gives
    # the same mean weights in both.
    W, share = groups(generator, 12, 3)
    small, full = principal_table(W, share, energy=1), full_table(W, share)
    mix = torch.rand((4, 12), generator=generator)
    mix /= mix.sum(1, keepdim=True)
    assert_close(
        small.weights(mix @ small.z), full.weights(mix @ full.z), rtol=0, atol=1e-5
    )


def test_range_is_that_of_the_groups(generator):
    W, share = groups(generator, 12, 3)
    table = principal_table(W, share)
    low, high = table.z_range
    assert ((table.z >= low) & (table.z <= high)).all()
    assert (table.z == high).any(0).all()
    assert (table.z == low).any(0).all()
