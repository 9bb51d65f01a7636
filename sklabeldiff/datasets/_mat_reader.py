"""Read tables of a MATLAB file in a process of its own, and write them as npz.

    python _mat_reader.py FILE.mat OUT.npz NAME [NAME ...]

scipy's reader trusts what a file says of itself, and a damaged one can end the process.
Here that is this one. It imports nothing of the package, to start at once.
"""

import math
import sys

import numpy as np
from scipy.io import loadmat, whosmat
from scipy.sparse import issparse

MAX_ENTRIES = 2**31  # 16 GB
REFUSED = 3  # exit status; the reason is on stdout


def main(path: str, out: str, *names: str) -> None:
    """Read and write; SystemExit if the file is refused."""
    try:
        # Sizes first: a small file may claim terabytes.
        sizes = {name: math.prod(shape) for name, shape, _ in whosmat(path)}
        for name in names:
            if name not in sizes:
                raise KeyError(", ".join(sorted(sizes)))
            if not 0 <= sizes[name] <= MAX_ENTRIES:
                raise ValueError(f"{name} claims {sizes[name]} entries")
        raw = loadmat(path, variable_names=names)
        tables = {}
        for name in names:
            table = raw[name].toarray() if issparse(raw[name]) else raw[name]
            if table.dtype.kind not in "biuf" or table.ndim != 2:
                raise ValueError(f"{name} is no table of numbers")
            tables[name] = table
    except Exception as error:  # the reader has many ways to fail
        print(f"{type(error).__name__}: {error}")
        sys.exit(REFUSED)
    np.savez(out, **tables)


if __name__ == "__main__":
    main(*sys.argv[1:])
