"""Which labels are doubtful: as a frame, and as a page in which a reader mends them.

`label_issues` returns the one, `label_report` writes the other. Which beliefs are shown
is up to the estimator. The page needs no network, no server and no package; what it
holds and how it is written is in `sklabeldiff._report`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import _num_samples

from sklabeldiff import __version__
from sklabeldiff._issues import issues_frame
from sklabeldiff._label_columns import columns_of, one_label_a_row
from sklabeldiff._optional import require
from sklabeldiff._parameters import check_number
from sklabeldiff._report import details, overview
from sklabeldiff._report.beliefs import judge, neighbours_of, read_labels
from sklabeldiff._report.page import write_page
from sklabeldiff._report.rows import (
    SCALE,
    SHOWN_BELIEFS,
    Judged,
    display_names,
    label_cells,
    row_columns,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["label_issues", "label_report"]


def label_issues(estimator: Any, X: Any, y: Any, *, cv: Any = None) -> pd.DataFrame:
    """Which of the given labels are wrong: all rows, the most suspicious first.

    What the method of that name is for the classifiers of this package, for any
    classifier and for Pipelines.

    Parameters
    ----------
    estimator : classifier or Pipeline
        Has ``predict_proba``. Fitted, unless `cv` is given.
    X : array-like of shape (n_samples, n_features)
        Rows whose labels are in question, in any form that the estimator takes.
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        Their given labels or candidate sets, in any form that
        :func:`~sklabeldiff.targets.encode_candidates` accepts.
    cv : int, splitter or iterable, default=None
        Given, every row is judged by a clone that has not seen it; an integer is the
        number of stratified, shuffled folds. None asks the fitted estimator, which
        believes too readily in labels that it was trained on.

    Returns
    -------
    issues : pandas.DataFrame
        One line per row, with the columns "row" (a position, as ``iloc`` takes it),
        "given", "believed", "confidence" and "score": see
        :meth:`sklabeldiff.DDMPClassifier.label_issues`.

    Raises
    ------
    ValueError
        If `X` and `y` differ in length, a label is refused or unknown, a row is not
        held out exactly once by `cv`, or probabilities are no distribution over the
        classes.
    TypeError
        If the estimator has no ``predict_proba``.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted and `cv` is None.
    ImportError
        If pandas is not installed.

    See Also
    --------
    label_report : The same as a page to work through.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklabeldiff.report import label_issues
    >>> X, y = load_iris(return_X_y=True)
    >>> y[[7, 30]] = 2  # two mistakes
    >>> model = make_pipeline(StandardScaler(), LogisticRegression())
    >>> issues = label_issues(model, X, y, cv=5)
    >>> sorted(issues["row"][:2])
    [7, 30]
    """
    given = read_labels(estimator, y, cv)
    _check_lengths(len(given.Y), X=X)
    posterior, _ = judge(estimator, X, given, cv, with_features=False)
    return issues_frame(given.mask, posterior, given.classes)


def label_report(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    cv: Any = None,
    images: Any = None,
    texts: Sequence[str] | None = None,
    true_labels: ArrayLike | None = None,
    class_names: Sequence[Any] | Mapping[Any, Any] | None = None,
    n_neighbors: int = 5,
    max_thumbnails: int = 500,
    title: str = "Label report",
    path: str | os.PathLike[str] = "report.html",
) -> Path:
    """Write an HTML page that shows which labels are doubtful.

    The page ranks the rows as ``label_issues`` does and shows, for each, what was given
    and what is believed, its picture, text or features, and its nearest rows. A reader
    decides row by row, or for many at once, and downloads the corrected labels. It is
    one file that opens in any browser, without a network.

    Parameters
    ----------
    estimator : classifier or Pipeline
        Has ``predict_proba``: a classifier of this package or any other, or a Pipeline
        that ends in one. Fitted, unless `cv` is given.
    X : array-like of shape (n_samples, n_features)
        Rows whose labels are in question, in any form that the estimator takes; for a
        Pipeline also a list of image files or texts.
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        Their given labels or candidate sets, in any form that
        :func:`~sklabeldiff.targets.encode_candidates` accepts.
    cv : int, splitter or iterable, default=None
        Given, every row is judged by a clone that has not seen it; an integer is the
        number of stratified, shuffled folds. None asks the fitted estimator, which
        believes too readily in labels that it was trained on.
    images : array or list of length n_samples, default=None
        The picture of each row: an array of shape (n_samples, height, width) or
        (n_samples, height, width, channels), or a list of files, PIL images or arrays.
        Needs pillow (extra ``vision``). A file that cannot be read is shown as missing.
    texts : sequence of str of length n_samples, default=None
        The text of each row; None where there is none. Without `images` and `texts`
        the features of a table or array `X` of at most 30 columns are shown.
    true_labels : array-like of shape (n_samples,), default=None
        True labels, where they are known: the page then says how many of the given and
        of the believed labels are right. A label that is no class counts as wrong.
    class_names : sequence or mapping of length n_classes, default=None
        How classes are called on the page: one name for each class in their order, or a
        name for each label. By default the labels themselves.
    n_neighbors : int, default=5
        Nearest rows to show with each row. 0 shows none and saves the search.
    max_thumbnails : int, default=500
        Number of rows, the most suspicious ones, whose pictures, whole texts or
        features are in the page.
    title : str, default="Label report"
        Heading of the page.
    path : str or path-like, default="report.html"
        File to write; one that is there is replaced, in one step.

    Returns
    -------
    path : Path
        The file that was written.

    Raises
    ------
    ValueError
        If `X`, `y`, `images`, `texts` or `true_labels` differ in length; if both
        `images` and `texts` are given; if the folder of `path` does not exist, or
        `path` is a folder; if `n_neighbors` or `max_thumbnails` is negative; if
        `class_names` lacks a class or has one too many; if a label is refused or
        unknown, or no true label is a class; if features are no finite numbers and
        `n_neighbors` is not 0; if a row is not held out exactly once by `cv`; if
        probabilities are no distribution over the classes.
    TypeError
        If the estimator has no ``predict_proba``, if a text is no str, or if
        `n_neighbors` or `max_thumbnails` is no integer.
    sklearn.exceptions.NotFittedError
        If the estimator is not fitted and `cv` is None.
    ImportError
        If `images` are given and pillow is not installed.

    See Also
    --------
    sklabeldiff.DDMPClassifier.label_issues : The same ranking as a frame.
    sklabeldiff.model_selection.cross_val_proba : The beliefs, for any classifier.
    sklabeldiff.metrics.label_issues_average_precision : How good the ranking is, where
        the truth is known.

    Notes
    -----
    *Beliefs* are those of ``label_issues``: an estimator that knows how labels go wrong
    is asked for the true label given the features and the given label. Of each row the
    six classes are kept that are believed most or are candidates, in four digits.

    *Neighbours* are searched among the features that the last step sees, in
    standardised columns: exactly up to 100 000 rows, beyond by
    :class:`~sklabeldiff.neighbors.ApproximateNeighbors` where faiss is installed. Those
    *agree* whose believed label is among the labels given to the row. With `cv`, the
    steps before the classifier are fitted once more, to all rows, to get them.

    *The share of wrong labels* is the mean over labelled rows of one minus the score.

    *Decisions* stay in the browser, under the digest of the labels and beliefs: the
    same report, written again, finds them. The download has the columns "row",
    "given", "believed", "confidence", "score", "decision" ("keep", "accept", "choose",
    "unlabelled" or nothing) and "corrected", in UTF-8 without a byte order mark. Where
    each row has one label or none, labels are written as they are and nothing stands
    for unlabelled, so that ``pandas.read_csv(file)["corrected"]`` can be fitted. Where
    a row has several labels, or a text label could be read as a formula, a number or a
    missing value, label cells are JSON: a list of labels or ``null``, as
    ``pandas.read_csv(file, converters={"corrected": json.loads})`` reads.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.datasets import load_iris
    >>> from sklabeldiff.baselines import PLKNNClassifier
    >>> from sklabeldiff.report import label_report
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> y = y.map({0: "setosa", 1: "versicolor", 2: "virginica"})
    >>> y[[7, 30]] = "virginica"
    >>> with TemporaryDirectory() as folder:
    ...     path = label_report(
    ...         PLKNNClassifier(), X, y, cv=5, path=Path(folder) / "iris.html"
    ...     )
    ...     path.read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    target = _checked_path(path)
    check_number("n_neighbors", n_neighbors, 0, integer=True)
    check_number("max_thumbnails", max_thumbnails, 0, integer=True)
    given = read_labels(estimator, y, cv)
    pictures, words = _read_contents(images, texts)
    truth = None if true_labels is None else one_label_a_row(true_labels, "true_labels")
    _check_lengths(len(given.Y), X=X, images=pictures, texts=words, true_labels=truth)
    names = display_names(class_names, given.classes)
    true_columns = None if truth is None else _true_columns(truth, given.classes)

    posterior, features = judge(estimator, X, given, cv, n_neighbors > 0)
    neighbours = neighbours_of(features, n_neighbors) if n_neighbors else None
    judged = Judged.from_beliefs(given.mask, posterior)
    document = {
        "about": _about(estimator, cv, n_neighbors, max_thumbnails),
        "scale": SCALE,
        "perRow": min(SHOWN_BELIEFS, len(names)),
        "nNeighbours": 0 if neighbours is None else neighbours.shape[1],
        "classes": names,
        "labels": label_cells(given.classes, judged.mask),
        "rows": row_columns(judged, neighbours, true_columns),
        "contents": _contents(X, pictures, words, judged.order, max_thumbnails),
        "summary": overview.summary(judged, true_columns),
        "confusions": overview.confusions(judged),
        "calibration": overview.calibration(judged, true_columns),
        "perClass": overview.class_quality(judged),
    }
    write_page(target, str(title), document)
    return target


def _checked_path(path: str | os.PathLike[str]) -> Path:
    """Where to write, if that is possible."""
    target = Path(path)
    if target.is_dir():
        raise ValueError(
            f"path is the folder {str(target)!r}. Name a file in it, such as "
            f"{str(target / 'report.html')!r}."
        )
    if not target.parent.is_dir():
        raise ValueError(
            f"path is {str(target)!r}, but there is no folder {str(target.parent)!r}. "
            "Make it first, or write elsewhere."
        )
    return target


def _read_contents(images: Any, texts: Any) -> tuple[Any, list[str] | None]:
    """Images and texts in the form that the rest takes; at most one of both."""
    if images is not None and texts is not None:
        raise ValueError("both images and texts are given. Leave one of them out.")
    if images is not None:
        require("PIL.Image")
        images = details.read_images(images)
    return images, None if texts is None else details.read_texts(texts)


def _check_lengths(n_rows: int, **arrays: Any) -> None:
    """Refuse what does not have one entry for each row of y."""
    for name, values in arrays.items():
        if values is not None and _num_samples(values) != n_rows:
            raise ValueError(
                f"{name} has {_num_samples(values)} rows, but y has {n_rows}. Give one "
                "for each row, in the same order."
            )


def _true_columns(truth: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Columns of the true labels, -1 where one is no class. (n,) -> (n,)."""
    columns = columns_of(truth, classes)
    if columns.max() < 0:
        raise ValueError(
            f"none of true_labels is a class: {truth.tolist()[0]!r} in row 0 is not "
            f"among {classes.tolist()[:5]}. Give them in the labels of y."
        )
    return columns


def _contents(
    X: Any,
    images: Any,
    texts: list[str] | None,
    order: NDArray[np.intp],
    max_thumbnails: int,
) -> dict[str, Any]:
    """Contents of the rows, the most suspicious ones first."""
    rows = order[:max_thumbnails]
    found: dict[str, Any] = {"n": len(rows)}
    if images is not None:
        found["images"] = details.image_details(images, rows)
        names = details.file_names(images)
        if names is not None:
            found["files"] = [names[row] for row in order.tolist()]
    elif texts is not None:
        starts = details.text_starts(texts)
        found["starts"] = [starts[row] for row in order.tolist()]
        found["texts"] = details.text_details(texts, rows)
    else:
        found["features"] = details.feature_details(X, rows)
    return found


def _about(
    estimator: Any, cv: Any, n_neighbors: int, max_thumbnails: int
) -> list[list[str]]:
    """How the report was made: names and values, as text."""
    beliefs = (
        "of the fitted estimator, about rows that it may have been trained on"
        if cv is None
        else "out of fold: each row was judged by a clone that had not seen it"
    )
    return [
        ["Estimator", repr(estimator)],
        ["Beliefs", beliefs],
        ["cv", repr(cv)],
        ["n_neighbors", str(n_neighbors)],
        ["max_thumbnails", str(max_thumbnails)],
        ["Written", datetime.now().astimezone().isoformat(" ", timespec="minutes")],
        ["sklabeldiff", __version__],
        ["scikit-learn", sklearn.__version__],
        ["numpy", np.__version__],
    ]
