"""Names of scikit-learn's documentation, for links where there is no connection.

Intersphinx reads the inventory of another project from its site. Offline it would warn
and leave the links out. What is linked to from here can be told from the installed
scikit-learn, so a small inventory of it is written as a second choice; the addresses
are the same.
"""

import zlib
from pathlib import Path

from sklearn import model_selection
from sklearn.utils import estimator_checks
from sklearn.utils.discovery import all_displays, all_estimators, all_functions

# Not classes and functions: terms and sections that docstrings of scikit-learn cite.
SECTIONS = """\
metadata_routing std:label -1 metadata_routing.html#metadata-routing Metadata Routing
meta-estimator std:term -1 glossary.html#term-meta-estimator -
sklearn.set_config py:function 1 modules/generated/sklearn.set_config.html#$ -
sklearn.model_selection py:module 0 api/sklearn.model_selection.html -
"""


def scikit_learn(path: Path) -> str:
    """Write the inventory of scikit-learn's public names; returns its file name."""
    splitters = [getattr(model_selection, name) for name in model_selection.__all__]
    found = [item for _, item in [*all_estimators(), *all_displays()]]
    lines = [
        _line(item, "class") for item in found + splitters if isinstance(item, type)
    ]
    checks = [
        estimator_checks.check_estimator,
        estimator_checks.parametrize_with_checks,
    ]
    functions = [item for _, item in all_functions()]
    lines += [_line(item, "function") for item in functions + checks]
    return _write(path, "scikit-learn", "\n".join(lines) + "\n" + SECTIONS)


def empty(path: Path, project: str) -> str:
    """Write an inventory without names: links are left out, without a warning."""
    return _write(path, project, "")


def _line(item: type, role: str) -> str:
    # The public module: sklearn.svm._classes.SVC is documented as sklearn.svm.SVC.
    parts = [p for p in item.__module__.split(".") if not p.startswith("_")]
    name = ".".join([*parts, item.__name__])
    return f"{name} py:{role} 1 modules/generated/{name}.html#$ -"


def _write(path: Path, project: str, lines: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
    head += "# The remainder of this file is compressed using zlib.\n"
    path.write_bytes(head.encode() + zlib.compress(lines.encode()))
    return str(path)
