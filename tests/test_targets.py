"""Every accepted form gives the same bits; every rejected one names row and remedy."""

import pickle
import warnings
from enum import Enum, StrEnum
from importlib import import_module

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.exceptions import (
    DataConversionWarning,
    NotFittedError,
    SkipTestWarning,
)
from sklearn.utils import check_consistent_length, estimator_checks, get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from sklabeldiff.targets import CandidateBinarizer, encode_candidates

# Four rows over three classes. The first three rows have sets of unequal size.
MASK = np.array([[1, 1, 0], [0, 0, 1], [1, 1, 1], [0, 1, 0]], dtype=bool)
NAMES = np.array(["a", "b", "c"])
NUMBERS = np.array([3, 5, 9])
LETTERS = [["a", "b"], ["c"], ["a", "b", "c"], ["b"]]


class NotAnArray:
    """Convertible to an array and nothing else, like scikit-learn's own."""

    def __init__(self, data):
        self.data = np.asarray(data)

    def __array__(self, dtype=None, copy=None):
        return self.data


class Color(Enum):
    RED = "r"
    GREEN = "g"


class Mood(StrEnum):
    """Equal to a str, yet hashed by its name."""

    GLAD = "g"
    SAD = "s"


def as_objects(rows):
    out = np.empty(len(rows), dtype=object)
    for i, row in enumerate(rows):
        out[i] = row
    return out


def assert_encodes(y, Y_expected, classes_expected, **parameters):
    """Equal in value, dtype and shape."""
    Y, classes = encode_candidates(y, **parameters)
    assert type(Y) is np.ndarray and type(classes) is np.ndarray
    assert Y.flags.c_contiguous  # later sums round alike
    assert_array_equal(Y, Y_expected, strict=True)
    assert_array_equal(classes, classes_expected, strict=True)


# --- forms that are accepted ------------------------------------------------------

MASK_FORMS = {
    "bool": lambda: MASK,
    "int8": lambda: MASK.astype(np.int8),
    "uint8": lambda: MASK.astype(np.uint8),
    "int64": lambda: MASK.astype(np.int64),
    "float16": lambda: MASK.astype(np.float16),
    "float32": lambda: MASK.astype(np.float32),
    "float64": lambda: MASK.astype(np.float64),
    "object": lambda: MASK.astype(object),
    "object ints": lambda: MASK.astype(int).astype(object),
    "one value a row": lambda: MASK * np.array([[2], [7], [1], [3]]),
    "equal weights": lambda: MASK / MASK.sum(axis=1, keepdims=True),
    "fortran order": lambda: np.asfortranarray(MASK.astype(float)),
    "list of ints": lambda: MASK.astype(int).tolist(),
    "list of bools": lambda: MASK.tolist(),
    "list of floats": lambda: MASK.astype(float).tolist(),
    "tuple of tuples": lambda: tuple(map(tuple, MASK.astype(int).tolist())),
    "list of arrays": lambda: list(MASK.astype(int)),
    "list with None for all": lambda: [
        None if row.all() else row.tolist() for row in MASK
    ],
    "object array of lists": lambda: as_objects(MASK.astype(int).tolist()),
    "not an array": lambda: NotAnArray(MASK),
    "masked array": lambda: np.ma.array(MASK, mask=False),
    "torch bool": lambda: torch.tensor(MASK),
    "torch int": lambda: torch.tensor(MASK.astype(int)),
    "torch with gradient": lambda: torch.tensor(
        MASK, dtype=torch.float32
    ).requires_grad_(),
    "list of tensors": lambda: list(torch.tensor(MASK.astype(int))),
    "csr array": lambda: sp.csr_array(MASK),
    "csc array": lambda: sp.csc_array(MASK.astype(np.int32)),
    "coo array": lambda: sp.coo_array(MASK.astype(float)),
    "lil array": lambda: sp.lil_array(MASK),
    "csr matrix": lambda: sp.csr_matrix(MASK),
    "csc matrix": lambda: sp.csc_matrix(MASK.astype(float)),
    "csr with explicit zeros": lambda: sp.csr_array(
        (MASK.ravel().astype(int), np.tile([0, 1, 2], 4), [0, 3, 6, 9, 12]),
        shape=(4, 3),
    ),
    "pandas without names": lambda: pd.DataFrame(MASK),
    "polars list": lambda: pl.Series(MASK.astype(int).tolist()),
    "pyarrow list": lambda: pa.array(MASK.astype(int).tolist()),
}


@pytest.mark.parametrize("form", MASK_FORMS)
def test_mask_forms_are_bit_equal(form):
    assert_encodes(MASK_FORMS[form](), MASK, np.arange(3))


def frame(kind, names):
    data = dict(zip(names, MASK.T.astype(int).tolist(), strict=True))
    if kind == "pyarrow":
        return pa.table(data)
    return import_module(kind).DataFrame(data)


SET_FORMS = {
    "list of sets": lambda: [set(row) for row in LETTERS],
    "list of frozensets": lambda: [frozenset(row) for row in LETTERS],
    "tuple of sets": lambda: tuple(set(row) for row in LETTERS),
    "sets of numpy strings": lambda: [set(np.array(row)) for row in LETTERS],
    "dict keys": lambda: [dict.fromkeys(row).keys() for row in LETTERS],
    "sets and lists": lambda: [set(LETTERS[0]), *LETTERS[1:]],
    "sets with None for all": lambda: [
        None if len(row) == 3 else set(row) for row in LETTERS
    ],
    "sets with NaN for all": lambda: [
        np.nan if len(row) == 3 else set(row) for row in LETTERS
    ],
    "object array of frozensets": lambda: as_objects(list(map(frozenset, LETTERS))),
    "list of lists": lambda: LETTERS,
    "list of tuples": lambda: list(map(tuple, LETTERS)),
    "repeated strings": lambda: [row + row[:1] for row in LETTERS],
    "reversed": lambda: [row[::-1] for row in LETTERS],
    "list of arrays": lambda: list(map(np.array, LETTERS)),
    "object array of lists": lambda: as_objects(LETTERS),
    "object array of arrays": lambda: as_objects(list(map(np.array, LETTERS))),
    "pandas sets": lambda: pd.Series(list(map(set, LETTERS))),
    "pandas lists": lambda: pd.Series(LETTERS, index=[4, 3, 2, 1]),
    "pandas arrow lists": lambda: pd.Series(
        LETTERS,
        dtype=pd.ArrowDtype(pa.list_(pa.string())),
    ),
    "pyarrow lists": lambda: pa.array(LETTERS),
    "pyarrow large lists": lambda: pa.array(LETTERS, type=pa.large_list(pa.string())),
    "pyarrow chunks": lambda: pa.chunked_array([LETTERS[:1], LETTERS[1:]]),
    "pyarrow with null for all": lambda: pa.array(
        [None if len(row) == 3 else row for row in LETTERS]
    ),
    "polars lists": lambda: pl.Series(LETTERS),
    "polars with null for all": lambda: pl.Series(
        [None if len(row) == 3 else row for row in LETTERS]
    ),
    "polars sets": lambda: pl.Series(list(map(set, LETTERS)), dtype=pl.Object),
    "pandas frame": lambda: frame("pandas", NAMES.tolist()),
    "pandas frame of bools and ints": lambda: frame("pandas", NAMES.tolist()).astype(
        {"b": bool}
    ),
    "pandas nullable frame": lambda: frame("pandas", NAMES.tolist()).astype("boolean"),
    "pandas sparse frame": lambda: frame("pandas", NAMES.tolist()).astype(
        pd.SparseDtype(int)
    ),
    "polars frame": lambda: frame("polars", NAMES.tolist()),
    "pyarrow table": lambda: frame("pyarrow", NAMES.tolist()),
}


@pytest.mark.parametrize("form", SET_FORMS)
def test_set_forms_are_bit_equal(form):
    assert_encodes(SET_FORMS[form](), MASK, NAMES)


NUMBER_FORMS = {
    "sets": lambda rows: list(map(set, rows)),
    "sets of numpy integers": lambda rows: [set(np.array(row)) for row in rows],
    "lists": lambda rows: rows,
    "ranges": lambda rows: [range(3, 6, 2), (9,), {3, 5, 9}, range(5, 6)],
    "arrays": lambda rows: [np.array(row, dtype=np.int32) for row in rows],
    "tensors": lambda rows: list(map(torch.tensor, rows)),
    "pyarrow": lambda rows: pa.array(rows),
    "polars": lambda rows: pl.Series(rows),
    "polars series in a list": lambda rows: list(map(pl.Series, rows)),
    "pandas": lambda rows: pd.Series(rows),
    "pandas frame": lambda rows: frame("pandas", NUMBERS.tolist()),
}


@pytest.mark.parametrize("form", NUMBER_FORMS)
def test_sets_of_gapped_integers_are_bit_equal(form):
    rows = [[3, 5], [9], [3, 5, 9], [5]]
    assert_encodes(NUMBER_FORMS[form](rows), MASK, NUMBERS)


ONE_HOT = np.eye(3, dtype=bool)[[1, 0, 2, 1]]
LABEL_FORMS = {
    "list": lambda v: v,
    "tuple": tuple,
    "array": np.array,
    "object array": lambda v: np.array(v, dtype=object),
    "list of numpy scalars": lambda v: list(np.array(v)),
    "list of 0-d arrays": lambda v: [np.array(x) for x in v],
    "list of singletons": lambda v: [[x] for x in v],
    "list of singleton sets": lambda v: [{x} for x in v],
    "not an array": NotAnArray,
    "read-only": lambda v: np.frombuffer(np.array(v), dtype=np.array(v).dtype),
    "pandas": lambda v: pd.Series(v, index=[9, 9, 1, 0]),
    "pandas index": lambda v: pd.Index(v),
    "pandas category": lambda v: pd.Series(v).astype("category"),
    "pandas Categorical": lambda v: pd.Categorical(v),
    "polars": lambda v: pl.Series(v),
    "pyarrow": lambda v: pa.array(v),
    "pyarrow chunks": lambda v: pa.chunked_array([v[:1], v[1:]]),
    "pyarrow dictionary": lambda v: pa.array(v).dictionary_encode(),
}
LABELS = {
    "strings": (["b", "a", "c", "b"], NAMES),
    "gapped integers": ([5, 3, 9, 5], NUMBERS),
    "negative integers": ([-1, -4, 9, -1], np.array([-4, -1, 9])),
    "whole floats": ([1.0, 0.0, 7.0, 1.0], np.array([0.0, 1.0, 7.0])),
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("form", LABEL_FORMS)
def test_single_labels_are_singleton_sets(form, kind):
    values, classes = LABELS[kind]
    assert_encodes(LABEL_FORMS[form](values), ONE_HOT, classes)


def test_pandas_nullable_and_torch_labels_are_singleton_sets():
    assert_encodes(torch.tensor([5, 3, 9, 5]), ONE_HOT, NUMBERS)
    assert_encodes(pd.Series([5, 3, 9, 5], dtype="Int64"), ONE_HOT, NUMBERS)
    assert_encodes(pd.Series(list("bacb"), dtype="string"), ONE_HOT, NAMES)


@pytest.mark.parametrize("y", [[True, False, True], np.array([True, False, True])])
def test_bool_labels_give_bool_classes(y):
    Y = np.array([[0, 1], [1, 0], [0, 1]], dtype=bool)
    assert_encodes(y, Y, np.array([False, True]))


def test_a_numeric_array_keeps_its_dtype_in_classes():
    _, classes = encode_candidates(np.array([7, 2], dtype=np.int16))
    assert_array_equal(classes, np.array([2, 7], dtype=np.int16), strict=True)


def test_integers_beyond_64_bits_stay_exact():
    _, classes = encode_candidates([2**70, -1, 2**70 + 1])
    assert classes.tolist() == [-1, 2**70, 2**70 + 1]


def test_tuples_may_be_labels_of_a_set():
    Y, classes = encode_candidates([{("x", 1), ("y", 2)}, {("x", 1)}])
    assert classes.tolist() == [("x", 1), ("y", 2)]
    assert Y.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("whole", [1, 2, 4])
def test_one_class_overall_is_allowed(whole):
    assert_encodes(["x"] * whole, np.ones((whole, 1), dtype=bool), np.array(["x"]))


def test_result_shares_no_memory_with_the_input():
    for y in (MASK.copy(), np.array([[0.2, 0.8], [1, 0]], dtype=np.float32)):
        before = y.copy()
        Y, _ = encode_candidates(y)
        Y[:] = 0
        assert_array_equal(y, before)


# --- unlabelled rows --------------------------------------------------------------

UNKNOWN_FORMS = {
    "None": lambda: (["b", None, "a"], None),
    "NaN among strings": lambda: (["b", np.nan, "a"], None),
    "None in an object array": lambda: (np.array(["b", None, "a"], object), None),
    "pandas strings": lambda: (pd.Series(["b", None, "a"]), None),
    "pandas category": lambda: (
        pd.Series(["b", None, "a"], dtype="category"),
        None,
    ),
    "pandas NA": lambda: (["b", pd.NA, "a"], None),
    "polars": lambda: (pl.Series(["b", None, "a"]), None),
    "pyarrow": lambda: (pa.array(["b", None, "a"]), None),
    "masked array": lambda: (np.ma.array(["b", "c", "a"], mask=[0, 1, 0]), None),
    "missing_label": lambda: (["b", "?", "a"], "?"),
    "missing_label in an array": lambda: (np.array(["b", "?", "a"]), "?"),
    "None beside missing_label": lambda: (["b", None, "a"], "?"),
    "missing_label among sets": lambda: ([{"b"}, "?", {"a"}], "?"),
}


@pytest.mark.parametrize("form", UNKNOWN_FORMS)
def test_unlabelled_row_may_be_every_class(form):
    y, missing_label = UNKNOWN_FORMS[form]()
    Y = np.array([[0, 1], [1, 1], [1, 0]], dtype=bool)
    assert_encodes(y, Y, np.array(["a", "b"]), missing_label=missing_label)


UNKNOWN_NUMBERS = {
    "list": lambda: ([7, None, 2], None),
    "NaN in a list": lambda: ([7, float("nan"), 2], None),
    "minus one": lambda: (np.array([7, -1, 2]), -1),
    "minus one in a list": lambda: ([7, -1, 2], -1),
    "numpy minus one": lambda: ([7, -1, 2], np.int64(-1)),
    "polars": lambda: (pl.Series([7, None, 2]), None),
    "pyarrow": lambda: (pa.array([7, None, 2]), None),
    "pandas NA": lambda: ([7, pd.NA, 2], None),
    "masked array": lambda: (np.ma.array([7, 3, 2], mask=[0, 1, 0]), None),
}


@pytest.mark.parametrize("form", UNKNOWN_NUMBERS)
def test_integer_classes_stay_integers_beside_a_missing_value(form):
    y, missing_label = UNKNOWN_NUMBERS[form]()
    Y = np.array([[0, 1], [1, 1], [1, 0]], dtype=bool)
    assert_encodes(y, Y, np.array([2, 7]), missing_label=missing_label)


def test_nan_in_a_float_array_is_an_unlabelled_row():
    y = np.array([7.0, np.nan, 2.0])
    Y = np.array([[0, 1], [1, 1], [1, 0]], dtype=bool)
    assert_encodes(y, Y, np.array([2.0, 7.0]))
    assert_encodes(y, Y, np.array([2.0, 7.0]), missing_label=np.nan)


def test_minus_one_is_an_ordinary_label_by_default():
    Y = np.array([[1, 0], [0, 1], [1, 0]], dtype=bool)
    assert_encodes([-1, 1, -1], Y, np.array([-1, 1]))


def test_missing_label_may_be_what_is_missing_anyway():
    Y = np.array([[0, 1], [1, 1], [1, 0]], dtype=bool)
    for value in (None, np.nan, pd.NA):
        y = ["b", value, "a"]
        assert_encodes(y, Y, np.array(["a", "b"]), missing_label=value)


def test_missing_label_one_leaves_true_a_label():
    Y = np.array([[0, 1], [1, 0]], dtype=bool)
    assert_encodes([True, False], Y, np.array([False, True]), missing_label=1)


# --- the readings of nested lists of numbers --------------------------------------


def test_equally_long_lists_of_zeros_and_ones_are_a_mask():
    assert_encodes([[0, 1], [1, 1]], np.array([[0, 1], [1, 1]], bool), np.arange(2))


def test_equally_long_lists_of_other_integers_are_labels():
    Y = np.array([[1, 0, 1], [0, 1, 1]], dtype=bool)
    assert_encodes([[0, 2], [1, 2]], Y, np.arange(3))


def test_equally_long_lists_of_strings_are_labels():
    Y = np.array([[1, 1, 0], [0, 1, 1]], dtype=bool)
    assert_encodes([("a", "b"), ("b", "c")], Y, NAMES)
    assert_encodes(np.array([["a", "b"], ["b", "c"]]), Y, NAMES)


def test_lists_of_one_zero_or_one_are_labels():
    Y = np.array([[1, 0], [0, 1], [0, 1]], dtype=bool)
    assert_encodes([[0], [1], [1]], Y, np.arange(2))


def test_sets_of_zeros_and_ones_are_labels():
    Y = np.array([[1, 1], [1, 1], [0, 1]], dtype=bool)
    assert_encodes([{0, 1}, {0, 1}, {1}], Y, np.arange(2))


def test_ragged_lists_of_zeros_and_ones_are_labels():
    Y = np.array([[1, 1], [0, 1]], dtype=bool)
    assert_encodes([[0, 1], [1]], Y, np.arange(2))


def test_a_two_dimensional_array_of_integers_is_weights():
    W = np.array([[0, 2], [1, 2]], dtype=np.float32)
    assert_encodes(np.array([[0, 2], [1, 2]]), W, np.arange(2))


def test_sets_may_hold_fractional_labels():
    Y = np.array([[1, 1], [0, 1]], dtype=bool)
    assert_encodes([{3.5, 4.0}, {4.0}], Y, np.array([3.5, 4.0]))


def test_column_vector_warns_and_is_one_label_per_row():
    message = "A column-vector y was passed when a 1d array was expected"
    for y in (np.array([[7], [2]]), sp.csr_array([[7], [2]]), torch.tensor([[7], [2]])):
        with pytest.warns(DataConversionWarning, match=message) as caught:
            Y, classes = encode_candidates(y)
        assert Y.tolist() == [[False, True], [True, False]]
        assert classes.tolist() == [2, 7]
        assert caught[0].filename == __file__


def test_frame_of_one_list_column_warns_and_is_read():
    for kind in ("pandas", "polars"):
        y = import_module(kind).DataFrame({"set": LETTERS})
        with pytest.warns(DataConversionWarning):
            assert_encodes(y, MASK, NAMES)


# --- weights ----------------------------------------------------------------------

WEIGHTS = np.array([[0.75, 0.25, 0.0], [0.5, 0.0, 0.5], [0.0, 0.0, 2.0]])
WEIGHT_FORMS = {
    "float64": lambda: WEIGHTS,
    "float32": lambda: WEIGHTS.astype(np.float32),
    "object": lambda: WEIGHTS.astype(object),
    "torch": lambda: torch.tensor(WEIGHTS),
    "csr": lambda: sp.csr_array(WEIGHTS),
    "pandas": lambda: pd.DataFrame(WEIGHTS),
}


@pytest.mark.parametrize("form", WEIGHT_FORMS)
def test_weights_stay_as_they_are_in_float32(form):
    assert_encodes(WEIGHT_FORMS[form](), WEIGHTS.astype(np.float32), np.arange(3))


def test_named_weights_take_the_names_of_the_columns():
    y = pl.DataFrame(dict(zip("cab", WEIGHTS.T, strict=True)))
    assert_encodes(y, WEIGHTS.astype(np.float32), np.array(["c", "a", "b"]))


def test_a_single_differing_row_makes_weights():
    W = MASK.astype(float)
    W[2] = [1, 1, 3]
    assert_encodes(W, W.astype(np.float32), np.arange(3))


def test_tiny_weights_stay_candidates():
    Y, _ = encode_candidates(np.array([[1e-300, 1.0, 0.0]]))
    assert Y.dtype == np.float32
    assert Y[0, 0] == np.finfo(np.float32).tiny
    assert Y[0, 2] == 0


# --- classes given ----------------------------------------------------------------


@pytest.mark.parametrize(
    "classes",
    [
        ["z", "c", "a", "b"],
        np.array(["z", "c", "a", "b"]),
        np.array(["z", "c", "a", "b"], dtype=object),
        ("z", "c", "a", "b"),
    ],
)
def test_given_classes_set_the_order_and_may_be_unused(classes):
    Y = np.column_stack([np.zeros(4, bool), MASK[:, [2, 0, 1]]])
    Y[2, 0] = True  # the row that is None may be any class, "z" too
    y = [{"a", "b"}, {"c"}, None, {"b"}]
    assert_encodes(y, Y, np.array(["z", "c", "a", "b"]), classes=classes)


def test_given_classes_name_the_columns_of_a_matrix_by_position():
    classes = np.array(["z", "y", "x"])
    for y in (MASK, MASK.tolist(), sp.csr_array(MASK), torch.tensor(MASK)):
        assert_encodes(y, MASK, classes, classes=["z", "y", "x"])


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_named_columns_are_matched_to_given_classes_by_name(kind):
    y = frame(kind, ["a", "b", "c"])
    assert_encodes(y, MASK[:, [2, 0, 1]], np.array(list("cab")), classes=list("cab"))


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_unnamed_columns_are_matched_to_given_classes_by_position(kind):
    y = import_module(kind).DataFrame(MASK)
    assert_encodes(y, MASK, np.array(list("cab")), classes=list("cab"))


def test_given_classes_need_no_order():
    Y, classes = encode_candidates([{Color.RED}, None], classes=list(Color))
    assert classes.tolist() == [Color.RED, Color.GREEN]
    assert Y.tolist() == [[True, False], [True, True]]


def test_members_of_a_str_enum_stay_members():
    Y, classes = encode_candidates([{Mood.SAD}, {Mood.GLAD, Mood.SAD}])
    assert classes.dtype == object
    assert all(a is b for a, b in zip(classes, [Mood.GLAD, Mood.SAD], strict=True))
    assert Y.tolist() == [[False, True], [True, True]]


def test_given_classes_may_be_fractions():
    Y = np.array([[0, 1], [1, 0]], dtype=bool)
    assert_encodes([0.5, 1.5], Y, np.array([1.5, 0.5]), classes=[1.5, 0.5])


def test_whole_floats_match_integer_classes():
    Y = np.array([[0, 1], [1, 1], [1, 0]], dtype=bool)
    assert_encodes(np.array([7, np.nan, 2]), Y, np.array([2, 7]), classes=[2, 7])


# --- forms that are rejected: each names the fact and the remedy ------------------

REJECTED = {
    "empty set": (
        lambda: [{"a"}, set(), {"b"}],
        r"row 1 has no candidate\. Give every row at least one class, or use all "
        r"classes \(or None\) for an unlabelled row\.",
    ),
    "empty set after an unknown row": (
        lambda: [None, {"a"}, frozenset()],
        r"row 2 has no candidate.*at least one class",
    ),
    "empty list": (lambda: [["a"], ["b", "c"], []], "row 2 has no candidate"),
    "empty pyarrow list": (
        lambda: pa.array([["a"], []]),
        "row 1 has no candidate",
    ),
    "empty row of a mask": (
        lambda: np.array([[1, 0], [0, 0]]),
        "row 1 has no candidate.*at least one class",
    ),
    "empty row of a sparse mask": (
        lambda: sp.csr_array(np.array([[1, 0], [0, 0]])),
        "row 1 has no candidate",
    ),
    "empty row of weights": (
        lambda: np.array([[0.3, 0.7], [0.0, 0.0]]),
        "row 1 has no candidate",
    ),
    "NaN in a mask": (
        lambda: np.array([[1, 0], [1, np.nan]]),
        r"row 1 has the entry nan for class 1\..*1 throughout for an unlabelled row",
    ),
    "infinite weight": (
        lambda: np.array([[1, np.inf], [1, 0]]),
        r"row 0 has the entry inf for class 1\..*must be finite",
    ),
    "weight beyond float32": (
        lambda: np.array([[1, 0], [1, 1e300]]),
        r"row 1 has the entry 1e\+300 for class 1\..*finite in float32",
    ),
    "negative weight": (
        lambda: np.array([[1.0, 0.0], [0.5, -0.5]]),
        r"row 1 has the entry -0\.5 for class 1\..*not negative: 0 for an impossible",
    ),
    "minus one in a mask": (
        lambda: np.array([[1, 0, 1], [-1, 1, 0]]),
        r"row 1 has the entry -1 for class 0\.",
    ),
    "null in a pandas frame": (
        lambda: pd.DataFrame(
            {"x": pd.array([True, None], dtype="boolean"), "y": [1, 1]}
        ),
        r"row 1 has the entry nan for class x\.",
    ),
    "null in a polars frame": (
        lambda: pl.DataFrame({"x": [True, False], "y": [True, None]}),
        r"row 1 has the entry nan for class y\.",
    ),
    "masked entry of a mask": (
        lambda: np.ma.array([[1, 0], [1, 1]], mask=[[0, 0], [1, 0]]),
        r"row 1 has the entry nan for class 0\.",
    ),
    "text in a frame": (
        lambda: pd.DataFrame({"x": [1, 0], "y": [1, "no"]}),
        r"row 1 holds 'no' in column 'y'\..*one 0/1 column per class.*as a Series",
    ),
    "duplicate columns": (
        lambda: pd.DataFrame([[1, 0]], columns=["a", "a"]),
        r"the columns of y has 'a' again at position 1\. Give each label once",
    ),
    "mixed column names": (
        lambda: pd.DataFrame([[1, 0]], columns=["a", 1]),
        "the columns of y .*has the label 1 .int., but .* has 'a' .str.",
    ),
    "no columns": (lambda: np.zeros((3, 0)), "y has no column. Give it one column"),
    "ragged mask": (
        lambda: [[1, 0, 0], [0, 1]],
        r"row 0 lists 0 more than once\. If the rows are masks, .*equally long",
    ),
    "nested counts": (
        lambda: [[3, 0, 1], [4, 1, 2], [2, 2, 0]],
        r"row 2 lists 2 more than once\..*np\.asarray\(y\).*as a set",
    ),
    "nested weights": (
        lambda: [[1, 0], [0.5, 0.5]],
        r"row 1 lists 0\.5, which could be a weight or a label\. Pass weights as a "
        r"matrix, np\.asarray\(y\), and labels as sets",
    ),
    "all rows None": (
        lambda: [None, None],
        r"no labelled row: all 2 rows of y are missing.*Label at least one row",
    ),
    "all rows NaN": (lambda: np.full(10, np.nan), "no labelled row: all 10 rows"),
    "no rows": (lambda: [], "y has 0 rows.*At least one row is required"),
    "no rows of a mask": (lambda: np.zeros((0, 3)), "y has 0 rows"),
    "None in a set": (
        lambda: [{"a"}, {"b", None}],
        r"row 1 has a missing value .*among its labels\. Leave it out\. For an "
        r"unlabelled row give None instead of the whole set",
    ),
    "NaN in a list": (
        lambda: [[2], [3, float("nan")]],
        "row 1 has a missing value.*Leave it out",
    ),
    "null in a pyarrow list": (
        lambda: pa.array([["a"], ["b", None]]),
        "row 1 has a missing value",
    ),
    "missing votes": (
        lambda: np.array([["a", "b"], ["b", None]], dtype=object),
        "row 1 has a missing value",
    ),
    "text beside numbers": (
        lambda: ["a", None, 2],
        r"row 2 has the label 2 \(int\), but row 0 has 'a' \(str\)\. All labels must "
        r"be of one kind\. Convert them",
    ),
    "text beside numbers in sets": (
        lambda: [{1}, {2}, {"2"}],
        r"row 2 has the label '2' \(str\), but row 0 has 1 \(int\).*Convert them",
    ),
    "bool beside its equal": (
        lambda: [1, 0, True],
        r"row 2 has the label True \(bool\), but row 0 has 1 \(int\)",
    ),
    "label beside sets": (
        lambda: [{"a"}, "b", {"c"}],
        r"row 1 is the single value 'b', but other rows are collections of labels\. "
        r"Give every row a collection: \['b'\] for one label",
    ),
    "unsortable labels": (
        lambda: [{Color.RED}, {Color.GREEN}],
        r"labels such as <Color.RED: 'r'> .Color. cannot be sorted\. Give classes=",
    ),
    "sets in sets": (
        lambda: [{frozenset("b")}],
        "row 0 has the label frozenset.*Give one flat set per row",
    ),
    "list in a list": (
        lambda: [["a"], [["b"]]],
        r"row 1 holds \['b'\] \(list\), which cannot be a label\. Give .*flat set",
    ),
    "dict of weights": (
        lambda: [{"a": 0.2}, {"b": 1}],
        r"row 0 holds \{'a': 0\.2\} \(dict\), which cannot be a label",
    ),
    "continuous": (
        lambda: np.array([1.0, 2.5, 3.5]),
        r"^Unknown label type: continuous \(row 1 of y holds 2\.5\)\..*one column per "
        r"class.*list them in classes=",
    ),
    "continuous list": (
        lambda: [1, 1, None, 1, 0.25],
        r"^Unknown label type: continuous \(row 4 of y holds 0\.25\)",
    ),
    "infinity": (
        lambda: np.array([1.0, np.inf]),
        r"^Unknown label type: continuous \(row 1 of y holds inf\)",
    ),
    "dates": (
        lambda: np.array(["2026-11-01"], dtype="datetime64[D]"),
        r"^Unknown label type: row 0 of y holds 2026-11-01.*convert them",
    ),
    "complex array": (
        lambda: np.array([1 + 1j, 2]),
        r"Complex data not supported: row 0 of y holds \(1\+1j\)",
    ),
    "complex list": (
        lambda: [1j, 2j],
        "Complex data not supported: row 0 has the label 1j",
    ),
    "None": (
        lambda: None,
        "requires y to be passed, but the target y is None",
    ),
    "three dimensions": (lambda: np.zeros((2, 2, 2)), r"3 dimensions.*2-D"),
    "scalar array": (lambda: np.array(3), r"0 dimensions.*1-D"),
    "string": (lambda: "abc", "Expected array-like .*'abc' of type str.*Put the"),
    "dict": (lambda: {0: "a"}, "Expected array-like .*of type dict.*Put the values"),
    "set": (lambda: {"a"}, "Expected array-like .*of type set.*Put the values in"),
    "generator": (lambda: iter(["a"]), "Expected array-like .*iterator.*Put the"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_rejected_input_names_the_row_and_the_remedy(case):
    make, message = REJECTED[case]
    with pytest.raises(ValueError, match=message):
        encode_candidates(make())


def test_bytes_are_rejected():
    for y in ([b"a", b"b"], np.array([b"a", b"b"])):
        with pytest.raises(TypeError, match=r"row 0 has the label b'a'.*decode them"):
            encode_candidates(y)


REJECTED_CLASSES = {
    "unknown label": (
        ["a", "b", "d"],
        ["a", "b"],
        r"row 2 has the label 'd', which is not among the classes \['a', 'b'\]\. Add "
        "it to classes=",
    ),
    "unknown label of a set": (
        [{"a"}, {"d", "a"}],
        ["a", "b"],
        "row 1 has the label 'd', which is not among the classes",
    ),
    "unknown number": (
        np.array([2, 7, 3]),
        [7, 2],
        r"row 2 has the label 3, which is not among the classes \[7, 2\]",
    ),
    "number for text": (np.array([1, 2]), ["1", "2"], "row 0 has the label 1, which"),
    "too few columns": (
        MASK,
        ["a", "b", "c", "d"],
        "a matrix of 3 columns was passed, but there are 4 classes: .*'d'.*one column "
        "per class",
    ),
    "too many columns": (MASK, ["a", "b"], "3 columns was passed, but there are 2"),
    "duplicate": (["a"], ["a", "b", "a"], "classes has 'a' again at position 2"),
    "None": (["a"], ["a", None], "classes has None at position 1, which marks an unl"),
    "empty": (["a"], [], "classes is empty. Give at least one label"),
    "text": (["a"], "ab", "classes must be a list of labels: .*of type str"),
    "set": (["a"], {"a", "b"}, "classes must be a list of labels: .*of type set"),
    "mixed": (["a"], ["a", 1], "classes must be a list of labels: .*1 .int., but"),
    "nested": (["a"], [["a"], ["b"]], r"classes must be .*\['a'\].*cannot be a label"),
}


@pytest.mark.parametrize("case", REJECTED_CLASSES)
def test_rejected_classes_name_the_remedy(case):
    y, classes, message = REJECTED_CLASSES[case]
    with pytest.raises(ValueError, match=message):
        encode_candidates(y, classes)


def test_a_column_outside_given_classes_is_rejected():
    for kind in ("pandas", "polars", "pyarrow"):
        with pytest.raises(ValueError, match="y has the column 'f', which is not amon"):
            encode_candidates(frame(kind, ["a", "f", "e"]), ["a", "c", "d"])


def test_missing_label_is_rejected_among_classes():
    with pytest.raises(ValueError, match=r"classes has -1 at position 0.*another mis"):
        encode_candidates([1, -1], [-1, 1], missing_label=-1)


def test_missing_label_is_rejected_within_a_set():
    with pytest.raises(ValueError, match=r"row 1 has a missing value.*whole set"):
        encode_candidates([{1, 2}, {2, -1}], missing_label=-1)


def test_all_rows_equal_to_missing_label_are_rejected():
    with pytest.raises(ValueError, match="no labelled row: all 3 rows"):
        encode_candidates([-1, -1, -1], classes=[0, 1], missing_label=-1)


def test_missing_label_must_be_one_value():
    with pytest.raises(TypeError, match=r"missing_label=\[-1\] is a list.*one value"):
        encode_candidates([1, 2], missing_label=[-1])


# --- random sets against a definition in one line ---------------------------------

ALPHABETS = {
    "integers": list(range(-3, 9)),
    "strings": ["ant", "", "bee", "Cat", "9", "zebra", "émeu"],
    "fractions": [0.5, -1.25, 2.0, 3.75],
    "pairs": [(0, "x"), (0, "y"), (1, "x")],
}


@pytest.mark.parametrize("alphabet", ALPHABETS)
@pytest.mark.parametrize("seed", range(5))
def test_random_sets_follow_the_definition(alphabet, seed):
    rng = np.random.default_rng(seed)
    labels = ALPHABETS[alphabet]
    sizes = rng.integers(1, len(labels) + 1, size=30)
    rows = [
        [labels[k] for k in rng.choice(len(labels), size, replace=False)]
        for size in sizes
    ]
    sets = list(map(frozenset, rows))
    expected_classes = sorted(set().union(*sets))
    expected = np.array([[label in s for label in expected_classes] for s in sets])

    Y, classes = encode_candidates(sets)
    assert_array_equal(Y, expected, strict=True)
    assert classes.tolist() == expected_classes

    # Rows may come in any order, with any subset of them unlabelled.
    order = rng.permutation(len(sets))
    hidden = rng.random(len(sets)) < 0.3
    given = [None if hidden[i] else sets[i] for i in order]
    shuffled, _ = encode_candidates(given, expected_classes)
    assert_array_equal(shuffled, (expected | hidden[:, None])[order], strict=True)

    # Any order of the classes, used or not, permutes the columns.
    classes_order = [labels[k] for k in rng.permutation(len(labels))]
    reordered, _ = encode_candidates(sets, classes_order)
    wanted = np.array([[label in s for label in classes_order] for s in sets])
    assert_array_equal(reordered, wanted, strict=True)

    # Lists mean the same, unless their numbers are fractions.
    if alphabet != "fractions":
        from_lists, _ = encode_candidates(rows)
        assert_array_equal(from_lists, expected, strict=True)

    back = CandidateBinarizer().fit(sets).inverse_transform(Y)
    assert back.tolist() == sets


# --- CandidateBinarizer -----------------------------------------------------------


@pytest.mark.parametrize("form", SET_FORMS)
def test_round_trip_returns_the_sets(form):
    binarizer = CandidateBinarizer()
    Y = binarizer.fit_transform(SET_FORMS[form]())
    assert_array_equal(Y, MASK, strict=True)
    sets = binarizer.inverse_transform(Y)
    assert sets.dtype == object and sets.shape == (4,)
    assert sets.tolist() == [frozenset(row) for row in LETTERS]
    assert_array_equal(binarizer.transform(sets), Y, strict=True)


def test_inverse_holds_python_values():
    sets = CandidateBinarizer().fit([{3, 5}, {9}]).inverse_transform([[1, 0, 1]])
    assert {type(label) for label in sets[0]} == {int}


def test_inverse_of_weights_is_their_support():
    binarizer = CandidateBinarizer().fit(WEIGHTS)
    sets = binarizer.inverse_transform(WEIGHTS)
    assert sets.tolist() == [{0, 1}, {0, 2}, {2}]


def test_inverse_of_one_class_returns_it():
    binarizer = CandidateBinarizer()
    Y = binarizer.fit_transform(["x", "x"])
    assert Y.shape == (2, 1)
    assert binarizer.inverse_transform(Y).tolist() == [{"x"}, {"x"}]


@pytest.mark.parametrize(
    ("Y", "message"),
    [
        ([[1, 0], [0, 0]], "row 1 has no candidate"),
        ([[1, 0, 1]], "3 columns was passed, but there are 2 classes"),
        ([[1, 0.5], [-0.5, 1]], r"row 1 has the entry -0\.5 for class a"),
        ([1, 0], r"shape \(2,\).*Expected numbers or bools of shape \(n_samples, 2\)"),
        ([["a", "b"]], "dtype <U1. Expected numbers"),
        ([[1, 0], [1]], "Y must be a rectangular array"),
    ],
)
def test_inverse_rejects_what_is_no_indicator(Y, message):
    binarizer = CandidateBinarizer().fit(["a", "b"])
    with pytest.raises(ValueError, match=message):
        binarizer.inverse_transform(Y)


def test_fit_and_fit_transform_agree_with_the_function():
    y = ["b", "?", "a"]
    for parameters in ({}, {"classes": ["a", "?", "b"]}, {"missing_label": "?"}):
        Y, classes = encode_candidates(y, **parameters)
        one, two = (CandidateBinarizer(**parameters) for _ in range(2))
        assert one.fit(y) is one
        assert_array_equal(one.transform(y), Y, strict=True)
        assert_array_equal(two.fit_transform(y), Y, strict=True)
        assert_array_equal(one.classes_, classes, strict=True)
        assert_array_equal(two.classes_, classes, strict=True)


def test_transform_keeps_the_columns_of_fit():
    binarizer = CandidateBinarizer().fit([{"a", "b"}, {"c"}])
    assert binarizer.transform([["b"]]).tolist() == [[False, True, False]]
    assert binarizer.transform(frame("pandas", ["c", "b", "a"])).tolist() == (
        MASK[:, ::-1].tolist()
    )


def test_transform_needs_no_labelled_row():
    binarizer = CandidateBinarizer().fit(["a", "b"])
    assert binarizer.transform([None]).tolist() == [[True, True]]
    assert binarizer.transform([]).shape == (0, 2)
    assert binarizer.transform(np.zeros((0, 2))).shape == (0, 2)


def test_transform_rejects_unseen_labels():
    binarizer = CandidateBinarizer().fit(["a", "b"])
    with pytest.raises(ValueError, match=r"row 1 has the label 'c'.*\['a', 'b'\]"):
        binarizer.transform([{"a"}, {"b", "c"}])


def test_fit_rejects_only_unlabelled_rows():
    with pytest.raises(ValueError, match="no labelled row"):
        CandidateBinarizer(classes=["a", "b"]).fit([None])


def test_refit_forgets_the_first_fit():
    binarizer = CandidateBinarizer().fit(["a", "b"])
    assert binarizer.fit([4, 2]).classes_.tolist() == [2, 4]


def test_unfitted_binarizer_says_so():
    for method in ("transform", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(CandidateBinarizer(), method)(MASK)


def test_column_vector_warning_points_to_the_call():
    with pytest.warns(DataConversionWarning) as caught:
        CandidateBinarizer().fit(np.array([[1], [2]]))
    assert caught[0].filename == __file__


def test_pickled_binarizer_gives_the_same_result():
    binarizer = CandidateBinarizer(missing_label="?").fit(["a", "b"])
    again = pickle.loads(pickle.dumps(binarizer))
    assert_array_equal(again.transform(["?", "b"]), binarizer.transform(["?", "b"]))


def test_fit_leaves_parameters_and_input_alone():
    classes, y = ["b", "a"], [{"a"}, {"b", "a"}]
    binarizer = CandidateBinarizer(classes=classes).fit(y)
    assert binarizer.classes is classes and classes == ["b", "a"]
    assert y == [{"a"}, {"b", "a"}]
    assert not hasattr(clone(binarizer), "classes_")


def test_tags_declare_a_transformer_of_y():
    tags = get_tags(CandidateBinarizer())
    assert tags.transformer_tags is not None
    assert not tags.input_tags.two_d_array
    assert tags.target_tags.required
    assert tags.target_tags.one_d_labels and tags.target_tags.two_d_labels
    assert not tags.no_validation and not tags._skip_test


# --- scikit-learn's checks --------------------------------------------------------

with warnings.catch_warnings():
    # scikit-learn says that it skips its checks of X, as for LabelBinarizer.
    warnings.simplefilter("ignore", SkipTestWarning)
    # A list: before scikit-learn 1.7 the warning comes when pytest asks for the checks.
    binarizer_checks = list(
        estimator_checks.estimator_checks_generator(CandidateBinarizer())
    )


@pytest.mark.parametrize(("estimator", "check"), binarizer_checks)
def test_sklearn_checks_of_the_binarizer(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_mixin_order,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
    ],
    ids=lambda check: check.__name__,
)
def test_sklearn_checks_that_need_no_X(check):
    check("CandidateBinarizer", CandidateBinarizer())


class NearestMean(ClassifierMixin, BaseEstimator):
    """The least classifier on candidate sets: it carries the encoding into checks."""

    def fit(self, X, y):
        X = validate_data(self, X, dtype=np.float64)
        Y, self.classes_ = encode_candidates(y)
        check_consistent_length(X, Y)
        self.means_ = Y.T.astype(float) @ X / Y.sum(axis=0)[:, None]
        return self

    def predict(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        distance = ((X[:, None] - self.means_) ** 2).sum(axis=2)
        return self.classes_[distance.argmin(axis=1)]


@parametrize_with_checks([NearestMean()])
def test_sklearn_checks_of_a_classifier_that_encodes(estimator, check):
    check(estimator)
