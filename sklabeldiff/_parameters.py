"""Checks of what a constructor was given, run when fit begins."""

from __future__ import annotations

import math
import os
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

# Single precision ends at 3e38, and a product of two parameters is to stay below.
LARGEST = 1e18
LARGEST_INTEGER = 2**62  # torch takes none above 2**63


def check_number(
    name: str,
    value: Any,
    low: float,
    high: float = math.inf,
    *,
    integer: bool = False,
    open_low: bool = False,
    or_word: str | None = None,
) -> None:
    """Refuse a parameter outside [low, high], or (low, high] if `open_low`.

    The one string that it may be instead is `or_word`. A limit that is left open is
    what the arithmetic can hold.

    Raises
    ------
    TypeError
        If it is no number, or no integer where one is needed.
    ValueError
        If it is out of range.
    """
    if or_word is not None and isinstance(value, str) and value == or_word:
        return
    kind: Any = Integral if integer else Real
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = "an integer" if integer else "a number"
        wanted += "" if or_word is None else f" or {or_word!r}"
        raise TypeError(f"{name} must be {wanted}, got {value!r}.")
    largest = LARGEST_INTEGER if integer else LARGEST
    # An integer is compared as it is: a float may not hold it.
    too_low = not (low < value if open_low else low <= value)
    if too_low or not value <= min(high, largest):
        start = "above" if open_low else "at least"
        limit = high if high < math.inf or too_low else largest
        end = "" if limit == math.inf else f" and at most {limit}"
        raise ValueError(f"{name} must be {start} {low}{end}, got {value!r}.")


def check_option(name: str, value: Any, options: tuple[Any, ...]) -> None:
    """Refuse a parameter that is not one of `options`: words, None, True and False."""
    if isinstance(value, np.bool_):
        value = bool(value)
    words = [option for option in options if isinstance(option, str)]
    is_word = isinstance(value, str) and value in words
    if not is_word and not any(value is option for option in options):
        raise ValueError(f"{name} must be one of {options}, got {value!r}.")


def as_numbers(name: str, values: Any) -> NDArray[np.float64]:
    """Array of what must be numbers, which the user calls `name`."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} must hold numbers, got {values!r:.60}.") from error


def check_verbose(value: Any) -> None:
    """Refuse what is no amount of messages: an integer, True or False."""
    if not isinstance(value, (Integral, np.bool_)):
        raise TypeError(f"verbose must be an integer or a bool, got {value!r}.")


def check_folder(name: str, value: Any) -> None:
    """Refuse what names no folder."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path, got {value!r}.")
    if "\0" in os.fsdecode(value):
        raise ValueError(f"{name} must be a path, which holds no zero: {value!r}.")


def checked_random_state(random_state: Any) -> np.random.RandomState:
    """Give the generator of a `random_state`.

    Raises
    ------
    ValueError
        If it is none; scikit-learn's error does not name the parameter.
    """
    try:
        return check_random_state(random_state)
    except ValueError as error:
        raise ValueError(
            "random_state must be None, an integer from 0 to 2**32 - 1 or a numpy "
            f"RandomState, got {random_state!r}."
        ) from error


MAX_LAYERS = 100
MAX_WIDTH = 2**16


def check_widths(name: str, hidden: Any) -> None:
    """Refuse what are no widths of hidden layers: one, or a tuple of them."""
    widths = layer_widths(hidden)
    if len(widths) > MAX_LAYERS:
        raise ValueError(f"{name} has {len(widths)} layers; at most {MAX_LAYERS} work.")
    for width in widths:
        check_number(name, width, 1, MAX_WIDTH, integer=True)


def layer_widths(hidden: Any) -> tuple[Any, ...]:
    """Widths of the hidden layers, of which a number alone means one."""
    return tuple(hidden) if isinstance(hidden, (tuple, list)) else (hidden,)
