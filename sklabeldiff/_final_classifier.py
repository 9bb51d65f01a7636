"""The classifier that DTM trains last, where the user brings one.

A torch module is copied and trained through the transition matrices; a scikit-learn
classifier is fitted to the corrected beliefs.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter
from torch import Tensor, nn

# Classes believed in less than this, or after so many likelier ones, are not worth a
# copy of the row.
MIN_BELIEF, MAX_COPIES = 1e-3, 5


def is_sklearn(classifier: Any) -> bool:
    """Whether it is fitted on weighted rows rather than trained by gradients."""
    return hasattr(classifier, "fit") and not isinstance(classifier, nn.Module)


def check_classifier(classifier: Any) -> None:
    """Refuse what cannot be trained last.

    Raises
    ------
    TypeError
        If it is a class, or neither a module nor a classifier; if it takes no sample
        weights or gives no probabilities.
    """
    if classifier is None or isinstance(classifier, nn.Module):
        return
    if isinstance(classifier, type) or not is_sklearn(classifier):
        raise TypeError(
            "classifier must be None, a torch module or a scikit-learn classifier, got "
            f"{classifier!r}."
        )
    name = type(classifier).__name__
    if not has_fit_parameter(classifier, "sample_weight"):
        raise TypeError(
            f"{name}.fit takes no sample_weight. Use a classifier that takes it, or a "
            "torch module."
        )
    if not hasattr(classifier, "predict_proba"):
        raise TypeError(
            f"{name} has no predict_proba. Use a classifier that has it; one that "
            "lacks it can be wrapped in CalibratedClassifierCV."
        )


def copy_module(module: nn.Module, n_features: int, n_classes: int) -> nn.Module:
    """Copy a module that maps features to one score a class.

    Raises
    ------
    ValueError
        If it fails on such rows, or gives another number of scores.
    """
    network = copy.deepcopy(module)
    weight = next(network.parameters(), torch.zeros(0))
    rows = torch.zeros((2, n_features), device=weight.device)
    try:
        with torch.no_grad():
            shape = tuple(network.eval()(rows).shape)
    except Exception as error:  # whatever a module of the user may raise
        raise ValueError(
            f"classifier cannot score 2 rows of {n_features} features, float32: {error}"
        ) from error
    if shape != (2, n_classes):
        raise ValueError(
            f"classifier turns 2 rows of {n_features} features into {shape}, where "
            f"{(2, n_classes)} is needed: one score for each class."
        )
    return network


def fit_weighted(classifier: Any, e: Tensor, q: Tensor, seed: int) -> Any:
    """Fit a clone to the likely classes of every row, weighted by the beliefs q.

    Whatever of it has a ``random_state`` of None is seeded.
    """
    weights, columns = q.cpu().double().topk(min(MAX_COPIES, q.shape[1]))
    rows, places = np.nonzero(weights.numpy() > MIN_BELIEF)
    fitted = clone(classifier)
    params = fitted.get_params()
    unseeded = {
        name: seed
        for name in sorted(params)
        if name.split("__")[-1] == "random_state" and params[name] is None
    }
    fitted.set_params(**unseeded)
    return fitted.fit(
        e.cpu().numpy()[rows],
        columns.numpy()[rows, places],
        sample_weight=weights.numpy()[rows, places],
    )


def weighted_proba(fitted: Any, e: Tensor, n_classes: int) -> NDArray[np.float32]:
    """Probabilities of all classes from one that may not have seen all. -> (n, C)."""
    proba = np.zeros((len(e), n_classes), dtype=np.float32)
    proba[:, fitted.classes_] = fitted.predict_proba(e.cpu().numpy())
    return proba
