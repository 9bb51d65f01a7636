"""What every public function owes to any input: an answer, or a documented error."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

REFUSED = object()

# Messages of what is inside, which say nothing to a user.
INTERNAL = re.compile(
    r"broadcast|ufunc|unhashable|not supported between|has no attribute|out of bounds"
    r"|invalid literal|object of type|setting an array element|cannot reshape"
    r"|must be real number|inhomogeneous|truth value|not subscriptable|mat1 and mat2"
    r"|size of tensor|unsupported operand|'NoneType'|argument must be|expected scalar"
    r"|Expected all tensors|not iterable|is not callable|positional argument"
    r"|Buffer dtype|boolean index|zero-size|Overflow|too large to convert|Cannot cast"
)

# After these words comes what others said of an entry or a file.
QUOTING = ("which is no number (", "is damaged (", "cannot be read as an image (")


def outcome(
    function: Callable[..., Any], *args: Any, keep_error: bool = False, **kwargs: Any
) -> Any:
    """Call, and return the answer, or REFUSED where the input is refused properly.

    With ``keep_error`` the error goes on, for whoever looks at it closer.

    Warnings are the user's business, but for those of numpy: they tell of numbers that
    are none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        try:
            return function(*args, **kwargs)
        except (ValueError, TypeError) as error:
            message = str(error)
            assert len(message) > 10, repr(error)
            # What others say of an entry or a file is quoted, after what we say.
            quoted = any(words in message for words in QUOTING)
            inner = INTERNAL.search(message)
            assert quoted or not inner, f"unclear, {inner!r}: {error!r}"
            if keep_error:
                raise
            return REFUSED
