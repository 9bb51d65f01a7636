"""What a label may look like: every form of candidate set becomes one indicator.

`encode_candidates` turns masks, collections of labels, weights and plain labels into an
array of shape (n_samples, n_classes) and the classes in its columns;
`CandidateBinarizer` is the same as a transformer; `candidates_from_votes` and
`vote_labels` count the answers of several annotators first. Which classes are *likely*
is not decided here, and neither is how many rows or classes a method needs.
"""

from __future__ import annotations

import reprlib
import warnings
from itertools import compress
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array, issparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import check_is_fitted

from sklabeldiff._documented import DocumentedMixin
from sklabeldiff._fields import Labels as LabelsField
from sklabeldiff._label_forms import (
    NUMERIC_KINDS,
    Labels,
    Matrix,
    Missing,
    check_classes,
    is_fractional,
    label_array,
    make_missing,
    no_candidate,
    parse,
    sorted_index,
    unwrap,
)
from sklabeldiff._saving import SavingMixin
from sklabeldiff._votes import candidates_from_votes, vote_labels

__all__ = [
    "CandidateBinarizer",
    "candidates_from_votes",
    "encode_candidates",
    "vote_labels",
]


# sparse_output="auto": so many classes, and at most this share of them candidates.
SPARSE_CLASSES, SPARSE_SHARE = 200, 0.1


def encode_candidates(
    y: Any,
    classes: ArrayLike | None = None,
    *,
    missing_label: Any = None,
    sparse_output: bool | str = False,
) -> tuple[Any, NDArray[Any]]:
    """Encode candidate sets, in any form, as one indicator array.

    A candidate set says which classes a row may belong to. Forms that mean the same
    sets, with the classes in the same order, give the same result bit by bit.

    Parameters
    ----------
    y : array-like of shape (n_samples, n_classes) or (n_samples,)
        The candidate sets, one of:

        - a 0/1 matrix, n_classes >= 2: array of bools or numbers, nested list, torch
          tensor, scipy sparse matrix or array, pandas or polars DataFrame with one
          column per class;
        - one collection of labels per row: set, frozenset, list, tuple or array, in a
          list, an object array or a Series, or a list column of pyarrow, polars or
          pandas;
        - non-negative weights, an array or DataFrame of shape (n_samples, n_classes),
          n_classes >= 2: the non-zero entries of a row are its candidates;
        - one label per row: integers, strings, bools.

        A row that is None, NaN, NA or `missing_label` may belong to every class. See
        Notes for nested lists of numbers.
    classes : array-like of shape (n_classes,), default=None
        All labels, in the order of the columns wanted. By default the labels found in
        `y`, sorted; the columns of a DataFrame; or 0, 1, ... for another matrix.
    missing_label : int, float, str or None, default=None
        A further value that marks an unlabelled row. -1 is an ordinary label unless it
        is given here.
    sparse_output : bool or "auto", default=False
        Whether to return a sparse array, made without a dense one on the way unless `y`
        is one. "auto" does with more than 200 classes, if at most a tenth of all
        entries are candidates.

    Returns
    -------
    Y : ndarray or csr_array of shape (n_samples, n_classes)
        Bools, True where the class is a candidate. Where the non-zero entries of some
        row of a matrix differ: that matrix, as float32 and unscaled. A sparse array has
        sorted indices and no entries but the candidates.
    classes : ndarray of shape (n_classes,)
        The user's own label for each column of `Y`. Labels of an array keep its dtype;
        in other forms they become bool, int64, float64, str, or else object.

    Raises
    ------
    ValueError
        If a row has no candidate, or a label that is not in `classes`, or is of another
        kind than the rest; if a matrix has an entry that is negative, NaN or infinite,
        or another number of columns than there are classes; if no row is labelled; if
        1-D `y` is continuous; if `y` is None or of no accepted form. The message names
        the first such row, counted from 0, and the remedy.
    TypeError
        If labels are bytes, or `missing_label` is not a single value.

    Warns
    -----
    DataConversionWarning
        If `y` has shape (n_samples, 1). It is read as one label per row.

    See Also
    --------
    CandidateBinarizer : The same as a transformer, with the way back.
    candidates_from_votes : Candidate sets from the answers of several annotators.
    sklearn.preprocessing.MultiLabelBinarizer : For rows that belong to all the classes
        listed, where here they belong to one of them.

    Notes
    -----
    A list of lists, tuples or arrays, of any library, is read as follows. Equally long
    rows that hold only 0 and 1 (or bools), two or more, are a 0/1 matrix. All other
    numbers are labels: ``[[0, 2], [1, 2]]`` means the sets {0, 2} and {1, 2}. Two cases
    are refused since they look like weights or counts: numbers with a fractional part,
    and a number that comes twice in a row. ``np.asarray(y)`` makes a matrix of them,
    sets make them labels. Sets are always labels; a 2-D numeric array is always a
    matrix. Strings that come twice in a row count once.

    With `classes`, the columns of a DataFrame are matched by name, unless they are the
    default names of pandas or polars; the columns of other matrices by position.

    Weights matter by their ratios within a row. They are clipped to the smallest normal
    float32 from below, so that no candidate is lost to rounding.

    Examples
    --------
    >>> from sklabeldiff.targets import encode_candidates
    >>> Y, classes = encode_candidates([{"cat", "dog"}, {"owl"}, None])
    >>> Y
    array([[ True,  True, False],
           [False, False,  True],
           [ True,  True,  True]])
    >>> classes
    array(['cat', 'dog', 'owl'], dtype='<U3')

    Weights keep their values:

    >>> import numpy as np
    >>> encode_candidates(np.array([[0.75, 0.25, 0.0]]))
    (array([[0.75, 0.25, 0.  ]], dtype=float32), array([0, 1, 2]))

    One label per row, where -1 stands for "unknown":

    >>> encode_candidates([3, -1], classes=[7, 3], missing_label=-1)
    (array([[False,  True],
           [ True,  True]]), array([7, 3]))
    """
    if sparse_output not in (False, True, "auto"):
        raise ValueError(
            f"sparse_output must be False, True or 'auto', got {sparse_output!r}."
        )
    return _encode(y, classes, missing_label, sparse=sparse_output)


class CandidateBinarizer(
    DocumentedMixin,
    SavingMixin,
    TransformerMixin,
    BaseEstimator,
    auto_wrap_output_keys=None,  # type: ignore[call-arg]
):
    """Convert candidate sets to an indicator array and back.

    Use it, or `encode_candidates`, to encode ragged lists of labels once, before
    scikit-learn's splitters see them: they refuse lists and know no sets.

    Parameters
    ----------
    classes : array-like of shape (n_classes,), default=None
        All labels, in the order of the columns wanted. By default those found by `fit`:
        sorted, or the columns of a DataFrame, or 0, 1, ... for another matrix.
    missing_label : int, float, str or None, default=None
        A further value, beside None, NaN and NA, that marks an unlabelled row.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The label of each column.

    See Also
    --------
    sklabeldiff.targets.encode_candidates : The same as a function; describes all forms
        of `y`.
    sklearn.preprocessing.MultiLabelBinarizer : For rows that belong to all the classes
        listed, where here they belong to one of them.

    Notes
    -----
    Like scikit-learn's label transformers it takes `y` as its only argument, so it is
    no step of a `Pipeline`, and scikit-learn's common checks run none of those that
    need an `X`.

    Examples
    --------
    >>> from sklabeldiff.targets import CandidateBinarizer
    >>> binarizer = CandidateBinarizer()
    >>> binarizer.fit_transform([("a", "b"), ("c",)])
    array([[ True,  True, False],
           [False, False,  True]])
    >>> binarizer.transform(["b", None])
    array([[False,  True, False],
           [ True,  True,  True]])
    >>> binarizer.inverse_transform([[0, 1, 0]])
    array([frozenset({'b'})], dtype=object)
    """

    _fields: ClassVar = {"classes_": LabelsField("C")}

    def __init__(
        self, classes: ArrayLike | None = None, missing_label: Any = None
    ) -> None:
        self.classes = classes
        self.missing_label = missing_label

    def fit(self, y: Any) -> CandidateBinarizer:
        """Learn the classes from candidate sets.

        Parameters
        ----------
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            Candidate sets in any form that `encode_candidates` accepts.

        Returns
        -------
        self : CandidateBinarizer
            The fitted binarizer.
        """
        _, self.classes_ = _encode(y, self.classes, self.missing_label)
        return self

    def fit_transform(self, y: Any) -> NDArray[Any]:
        """Learn the classes and encode the same candidate sets.

        Parameters
        ----------
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            Candidate sets in any form that `encode_candidates` accepts.

        Returns
        -------
        Y : ndarray of shape (n_samples, n_classes)
            Bools, or float32 weights, as `encode_candidates` returns them.
        """
        Y, self.classes_ = _encode(y, self.classes, self.missing_label)
        return Y

    def transform(self, y: Any) -> NDArray[Any]:
        """Encode candidate sets, with one column per class seen by `fit`.

        Parameters
        ----------
        y : array-like of shape (n_samples, n_classes) or (n_samples,)
            Candidate sets in any form that `encode_candidates` accepts. No row needs to
            be labelled, and there may be no rows.

        Returns
        -------
        Y : ndarray of shape (n_samples, n_classes)
            Bools, or float32 weights, as `encode_candidates` returns them.

        Raises
        ------
        ValueError
            If a label was not seen by `fit`, beside the errors of `encode_candidates`.
        """
        check_is_fitted(self)
        Y, _ = _encode(y, self.classes_, self.missing_label, to_learn=False)
        return Y

    def inverse_transform(self, Y: Any) -> NDArray[np.object_]:
        """Return the candidate set of each row of an indicator array.

        Parameters
        ----------
        Y : array-like of shape (n_samples, n_classes)
            A 0/1 matrix or non-negative weights. Candidates are the non-zero entries.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Objects: a frozenset of labels, as Python values, per row.

        Raises
        ------
        ValueError
            If a row has no candidate, or the number of columns is not that of the
            classes, or an entry is negative or not finite.
        """
        check_is_fitted(self)
        try:
            values = np.asarray(unwrap(Y)[0])
        except ValueError as error:
            raise ValueError(f"Y must be a rectangular array: {error}") from error
        if values.ndim != 2 or values.dtype.kind not in NUMERIC_KINDS:
            raise ValueError(
                f"Y has shape {values.shape} and dtype {values.dtype}. Expected "
                f"numbers or bools of shape (n_samples, {len(self.classes_)}), one "
                "column per class, as `transform` returns them."
            )
        _check_n_columns(values.shape[1], self.classes_)
        mask = _check_weights(values, self.classes_) > 0
        labels = self.classes_.tolist()
        sets = np.empty(len(mask), dtype=object)
        sets[:] = [frozenset(compress(labels, row)) for row in mask.tolist()]
        return sets

    def __sklearn_tags__(self) -> Any:
        """Declare that there is no X: as in LabelBinarizer, the one argument is y."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        tags.target_tags.one_d_labels = True
        tags.target_tags.two_d_labels = True
        return tags


def _encode(
    y: Any,
    classes: ArrayLike | None,
    missing_label: Any,
    to_learn: bool = True,
    sparse: bool | str = False,
) -> tuple[Any, NDArray[Any]]:
    """Encode y; `to_learn` asks for at least one labelled row."""
    missing = make_missing(missing_label)
    given = None if classes is None else check_classes(classes, missing, "classes")
    if issparse(y) and y.ndim == 2 and y.shape[1] > 1 and y.dtype.kind in NUMERIC_KINDS:
        _check_n_rows(y.shape[0], to_learn)
        named = _classes_of_columns(y.shape[1], given)
        Y = _check_sparse_weights(csr_array(y), named)
        return _in_form(Y, sparse), named
    values, columns = unwrap(y)
    if isinstance(values, np.ndarray) and values.ndim == 2 and values.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. It is read as "
            "one label per row. Please change the shape of y to (n_samples,), for "
            "example using ravel().",
            DataConversionWarning,
            stacklevel=3,
        )
        values = values.ravel()
    _check_n_rows(len(values), to_learn)
    form = parse(values, columns, missing)
    if isinstance(form, Matrix):
        Y, named = _encode_matrix(form.values, columns, given, missing)
        return _in_form(Y, sparse), named
    if to_learn and form.unknown.all():
        raise ValueError(
            f"no labelled row: all {len(form.unknown)} rows of y are missing (None, "
            "NaN, NA or missing_label). Label at least one row."
        )
    return _encode_labels(form, given, sparse)


def _check_n_rows(n_rows: int, to_learn: bool) -> None:
    if to_learn and n_rows == 0:
        raise ValueError("y has 0 rows (0 sample(s)). At least one row is required.")


def _classes_of_columns(n_columns: int, given: NDArray[Any] | None) -> NDArray[Any]:
    """Classes of the columns of a matrix that have no names."""
    if given is None:
        return np.arange(n_columns)
    _check_n_columns(n_columns, given)
    return given


def _in_form(Y: Any, sparse: bool | str) -> Any:
    """Candidates in the form asked for: a sparse array, or a dense one."""
    if sparse == "auto":
        n_entries = Y.nnz if issparse(Y) else np.count_nonzero(Y)
        sparse = _is_sparse(n_entries, *Y.shape)
    if sparse:
        return Y if issparse(Y) else csr_array(Y)
    return Y.toarray() if issparse(Y) else Y


def _is_sparse(n_entries: Any, n_rows: int, n_classes: int) -> bool:
    """Whether candidates are few among many classes."""
    few = n_entries <= SPARSE_SHARE * n_rows * n_classes
    return n_classes > SPARSE_CLASSES and bool(few)


def _encode_matrix(
    values: NDArray[Any],
    columns: list[Any] | None,
    given: NDArray[Any] | None,
    missing: Missing,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Check a mask or weights and bring its columns into the order of the classes."""
    n_columns = values.shape[1]
    if n_columns == 0:
        raise ValueError("y has no column. Give it one column per class.")
    if given is not None:
        _check_n_columns(n_columns, given)
        if columns is not None and not _are_default(columns):
            names = check_classes(columns, missing, "the columns of y")
            values = values[:, _match_columns(names, given)]
        return _check_weights(values, given), given
    if columns is None:
        columns = list(range(n_columns))
    names = check_classes(columns, missing, "the columns of y")
    return _check_weights(values, names), names


def _check_weights(values: NDArray[Any], classes: NDArray[Any]) -> NDArray[Any]:
    """Numbers (n, C) -> bool mask, or float32 where a row's non-zero entries differ."""
    values = np.ascontiguousarray(values)  # sums of the result round by its layout
    if ((values == 0) | (values == 1)).all():
        Y = weights = values.astype(bool)
    else:
        with np.errstate(over="ignore"):
            weights = values.astype(np.float32)
        bad = ~(np.isfinite(weights) & (values >= 0))
        if bad.any():
            i, j = np.argwhere(bad)[0]
            raise _bad_entry(i, values[i, j], classes[j])
        Y = values > 0
        np.maximum(weights, np.finfo(np.float32).tiny, out=weights, where=Y)
    empty = ~Y.any(axis=1)
    if empty.any():
        raise no_candidate(int(np.argmax(empty)))
    plain_sets = weights is Y or not (Y & (weights != weights.max(1)[:, None])).any()
    return Y if plain_sets else weights


def _check_sparse_weights(values: csr_array, classes: NDArray[Any]) -> csr_array:
    """Do what `_check_weights` does, to a sparse matrix."""
    if not values.has_canonical_format:
        values = values.copy()  # the user's own is not touched
        values.sum_duplicates()  # sorts, too
    rows = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))
    weights = values.data.astype(bool)
    if not ((values.data == 0) | (values.data == 1)).all():
        with np.errstate(over="ignore"):
            weights = values.data.astype(np.float32)
        bad = ~(np.isfinite(weights) & (values.data >= 0))
        if bad.any():
            k = int(np.argmax(bad))
            raise _bad_entry(rows[k], values.data[k], classes[values.indices[k]])
        there = values.data > 0
        np.maximum(weights, np.finfo(np.float32).tiny, out=weights, where=there)
        largest = np.zeros(values.shape[0], dtype=np.float32)
        np.maximum.at(largest, rows, weights)
        if not (there & (weights != largest[rows])).any():
            weights = there
    Y = csr_array((weights, values.indices, values.indptr), shape=values.shape).copy()
    Y.eliminate_zeros()
    empty = np.diff(Y.indptr) == 0
    if empty.any():
        raise no_candidate(int(np.argmax(empty)))
    return Y


def _bad_entry(row: int, entry: Any, label: Any) -> ValueError:
    """Return the error for an entry that is no weight."""
    return ValueError(
        f"row {row} has the entry {entry} for class {label!s}. Entries must be finite "
        "in float32 and not negative: 0 for an impossible class, 1 or a positive "
        "weight for a candidate, 1 throughout for an unlabelled row."
    )


def _encode_labels(
    form: Labels, given: NDArray[Any] | None, sparse: bool | str
) -> tuple[Any, NDArray[Any]]:
    """Scatter (row, label) entries into a mask (n, C)."""
    if given is None:
        _check_discrete(form)
        order = sorted_index(form.labels)
        named = [form.labels[k] for k in order]
        out = label_array(named) if named else np.empty(0)
        out = out if form.dtype is None else out.astype(form.dtype)
        column = np.argsort(order)  # (n_labels,) code -> column
    else:
        out = given
        index_labels = given.tolist()
        index = {label: j for j, label in enumerate(index_labels)}
        column = np.array([index.get(v, -1) for v in form.labels], dtype=np.intp)
        if len(column) and column.min() < 0:
            i = int(np.argmax(column[form.codes] < 0))
            raise ValueError(
                f"row {form.rows[i]} has the label {form.labels[form.codes[i]]!r}, "
                f"which is not among the classes {reprlib.repr(index_labels)}. Add "
                "it to classes=, or correct the row."
            )
    shape = len(form.unknown), len(out)
    columns = column[form.codes]
    if sparse == "auto":
        n_entries = len(columns) + np.count_nonzero(form.unknown) * len(out)
        sparse = _is_sparse(n_entries, *shape)
    if sparse:
        Y = csr_array((np.ones(len(columns), bool), (form.rows, columns)), shape)
        Y.sum_duplicates()
        n_distinct = Y.nnz
    else:
        Y = np.zeros(shape, dtype=bool)
        Y[form.rows, columns] = True
        n_distinct = np.count_nonzero(Y)
    if form.dtype is None and out.dtype.kind in NUMERIC_KINDS:
        _check_no_repeats(form, n_distinct)
    if not sparse:
        Y[form.unknown] = True
    elif form.unknown.any():
        Y = Y + _full_rows(form.unknown, len(out))  # of bools: or
    return Y, out


def _check_discrete(form: Labels) -> None:
    """Refuse a regression target: fractions or infinities, one per row."""
    if not form.single:
        return
    k = next((k for k, label in enumerate(form.labels) if is_fractional(label)), None)
    if k is not None:
        i = int(np.argmax(form.codes == k))
        raise ValueError(
            f"Unknown label type: continuous (row {form.rows[i]} of y holds "
            f"{form.labels[k]}). Labels are integers, strings or bools. Weights need "
            "one column per class. If these numbers are classes, list them in classes=."
        )


def _full_rows(full: NDArray[np.bool_], n_classes: int) -> csr_array:
    """Rows that may be any class, the others empty. (n,) -> (n, C)."""
    ends = np.append(0, np.cumsum(full * n_classes))
    indices = np.tile(np.arange(n_classes), np.count_nonzero(full))
    shape = len(full), n_classes
    return csr_array((np.ones(len(indices), bool), indices, ends), shape)


def _check_no_repeats(form: Labels, n_distinct: int) -> None:
    """Refuse numbers listed twice in a row: a broken mask, weights, or counts."""
    if n_distinct == len(form.rows):
        return
    entries = form.rows * len(form.labels) + form.codes
    unique, count = np.unique(entries, return_counts=True)
    row, code = divmod(int(unique[np.argmax(count > 1)]), len(form.labels))
    raise ValueError(
        f"row {row} lists {form.labels[code]!r} more than once. If the rows are "
        "masks, weights or counts, make them equally long and pass np.asarray(y). If "
        "they list labels, give each label once, for example as a set."
    )


def _check_n_columns(n_columns: int, classes: NDArray[Any]) -> None:
    if n_columns != len(classes):
        raise ValueError(
            f"a matrix of {n_columns} columns was passed, but there are {len(classes)} "
            f"classes: {reprlib.repr(classes.tolist())}. Give one column per class, 0 "
            "throughout for a class that is never a candidate."
        )


def _are_default(columns: list[Any]) -> bool:
    """Whether pandas or polars made up the names of the columns."""
    n = len(columns)
    return columns in (list(range(n)), [f"column_{j}" for j in range(n)])


def _match_columns(names: NDArray[Any], classes: NDArray[Any]) -> list[int]:
    """Position of each class among as many distinct columns of a frame."""
    position = {name: j for j, name in enumerate(names.tolist())}
    labels = classes.tolist()
    foreign = position.keys() - set(labels)
    if foreign:
        name = min(foreign, key=position.__getitem__)
        raise ValueError(
            f"y has the column {name!r}, which is not among the classes "
            f"{reprlib.repr(labels)}. Name the columns after the classes, or pass "
            "y.to_numpy() to match them by position."
        )
    return [position[label] for label in labels]
