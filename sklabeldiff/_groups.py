"""Groups of near rows, which share a transition matrix."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sklabeldiff.core.blocks import in_blocks

KMEANS_STARTS, KMEANS_PASSES = 3, 50
MINI_BATCH_ROWS = 200_000  # above it K-means sees batches


def find_groups(e: Tensor, n_groups: int, seed: int) -> Tensor:
    """Centroids of the groups. (n, p) -> (K, p)."""
    if len(e) > MINI_BATCH_ROWS:
        search: Any = MiniBatchKMeans(n_groups, random_state=seed)
    else:
        search = KMeans(
            n_groups, n_init=KMEANS_STARTS, max_iter=KMEANS_PASSES, random_state=seed
        )
    with warnings.catch_warnings():
        # Fewer distinct rows than groups: some centroids coincide and stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(e.cpu().numpy())
    return torch.as_tensor(search.cluster_centers_, device=e.device)


def nearest_group(e: Tensor, centroids: Tensor) -> Tensor:
    """Group whose centroid is nearest. (n, p), (K, p) -> (n,)."""
    # Distances are taken by products, which far from the origin cancel.
    centre = centroids.mean(0)
    near = centroids - centre
    return in_blocks(lambda rows: torch.cdist(rows - centre, near).argmin(1), e)
