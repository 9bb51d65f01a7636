"""The frame of `label_issues`: rows ranked by how much their labels are doubted.

Beliefs come in as an array; which beliefs, and of which model, is not decided here.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from sklabeldiff._label_columns import entries_at, is_full

if TYPE_CHECKING:
    import pandas as pd


def issues_frame(mask: Any, posterior: Any, classes: NDArray[Any]) -> pd.DataFrame:
    """Rows ranked by suspicion. Sets and beliefs (n, C), labels of the columns (C,).

    Sets and beliefs may be sparse, both.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            "label_issues returns a DataFrame and needs pandas: "
            'pip install "sklabeldiff[pandas]"'
        ) from error
    believed = np.asarray(posterior.argmax(axis=1)).ravel()
    confidence = entries_at(posterior, believed).astype(np.float64)
    score = self_consistency(mask, posterior)
    order = suspicion_order(mask, score, believed, confidence)
    given = given_labels(mask, classes)[order]
    return pd.DataFrame(
        {
            "row": order,
            # Not inferred: that would make NaN of None.
            "given": pd.Series(given, dtype=given.dtype),
            "believed": classes[believed[order]],
            "confidence": confidence[order],
            "score": score[order],
        }
    )


def self_consistency(mask: Any, posterior: Any) -> NDArray[np.float64]:
    """Probability that the true label is among the given ones. (n, C) -> (n,)."""
    if issparse(posterior):
        inside = posterior.multiply(mask)
        sums = (a.sum(axis=1, dtype=np.float64) for a in (inside, posterior - inside))
        given, others = map(np.asarray, sums)
        return given / (given + others)
    given = np.where(mask, posterior, 0.0).sum(axis=1, dtype=np.float64)
    others = np.where(mask, 0.0, posterior).sum(axis=1, dtype=np.float64)
    # Not 1 - others: exactly 1 where nothing else is believed, and exact near 0.
    return given / (given + others)


def suspicion_order(
    mask: Any,
    score: NDArray[np.float64],
    believed: NDArray[np.intp],
    confidence: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Most suspicious row first; ties keep the order of the rows. -> (n,).

    Among equal scores: first rows that are believed to have another label, the surest
    first; then those believed, the least sure first; last the unlabelled.
    """
    sureness = np.where(entries_at(mask, believed), confidence, -confidence)
    return np.lexsort((sureness, is_full(mask), score))


def given_labels(mask: Any, classes: NDArray[Any]) -> NDArray[Any]:
    """Label, frozenset of labels, or None of each row. (n, C), (C,) -> (n,).

    Labels, not sets, where every row has one or none.
    """
    unlabelled = is_full(mask)
    one = np.asarray(mask.sum(axis=1)) == 1
    if one.all():
        return classes[np.asarray(mask.argmax(axis=1)).ravel()]
    labels = classes.tolist()
    given = np.empty(mask.shape[0], dtype=object)
    if (one | unlabelled).all():
        best = np.asarray(mask[one].argmax(axis=1)).ravel()
        given[one] = [labels[j] for j in best]
    elif issparse(mask):
        rows = np.split(mask.indices, mask.indptr[1:-1])
        sets = [frozenset(labels[j] for j in row) for row in rows]
        given[~unlabelled] = list(compress(sets, ~unlabelled))
    else:
        sets = [frozenset(compress(labels, row)) for row in mask[~unlabelled].tolist()]
        given[~unlabelled] = sets
    return given
