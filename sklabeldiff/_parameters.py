"""Checks of what a constructor was given, run when fit begins."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any


def check_number(
    name: str,
    value: Any,
    low: float,
    high: float = float("inf"),
    *,
    integer: bool = False,
    open_low: bool = False,
    or_word: str | None = None,
) -> None:
    """Refuse a parameter outside [low, high], or (low, high] if `open_low`.

    The one string that it may be instead is `or_word`.

    Raises
    ------
    TypeError
        If it is no number, or no integer where one is needed.
    ValueError
        If it is out of range.
    """
    if or_word is not None and isinstance(value, str) and value == or_word:
        return
    kind = Integral if integer else Real
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = "an integer" if integer else "a number"
        wanted += "" if or_word is None else f" or {or_word!r}"
        raise TypeError(f"{name} must be {wanted}, got {value!r}.")
    number = float(value)
    if not (low < number if open_low else low <= number) or not number <= high:
        start = "above" if open_low else "at least"
        end = "" if high == float("inf") else f" and at most {high}"
        raise ValueError(f"{name} must be {start} {low}{end}, got {value!r}.")


def check_option(name: str, value: Any, options: tuple[Any, ...]) -> None:
    """Refuse a parameter that is not one of `options`."""
    if not any(value is o or (isinstance(o, str) and value == o) for o in options):
        raise ValueError(f"{name} must be one of {options}, got {value!r}.")


MAX_LAYERS = 100


def check_widths(name: str, hidden: Any) -> None:
    """Refuse what are no widths of hidden layers: one, or a tuple of them."""
    widths = layer_widths(hidden)
    if len(widths) > MAX_LAYERS:
        raise ValueError(f"{name} has {len(widths)} layers; at most {MAX_LAYERS} work.")
    for width in widths:
        check_number(name, width, 1, integer=True)


def layer_widths(hidden: Any) -> tuple[Any, ...]:
    """Widths of the hidden layers, of which a number alone means one."""
    return tuple(hidden) if isinstance(hidden, (tuple, list)) else (hidden,)
