"""Which of our modules decide a result: found by following imports.

A name taken from a package is followed to the module that defines it, past the
``__init__`` that passes it on, so that a new estimator makes no other one's results
stale.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import sklabeldiff
from benchmarks.frame import ROOT

# Scores of the user, not of the benchmarks; reports to callbacks and files, which
# change nothing.
IRRELEVANT = (
    "sklabeldiff.metrics",
    *(f"sklabeldiff.{name}" for name in ("_callbacks", "_fields", "_saving")),
)
INSTALLED = Path(sklabeldiff.__file__).parents[1]  # the checkout, or a wheel's place


def modules_behind(estimator: Any) -> set[str]:
    """Our modules that an estimator depends on, those of its parameters included."""
    params = getattr(estimator, "get_params", dict)()
    kinds = {type(part) for part in (estimator, *params.values())}
    return set().union(*(reached(kind.__module__) for kind in kinds))


@cache
def reached(module: str) -> frozenset[str]:
    """Collect the module and those of ours that it imports, directly or not."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        relevant = not any(f"{name}.".startswith(f"{i}.") for i in IRRELEVANT)
        if name not in found and relevant and path_of(name) is not None:
            found.add(name)
            waiting += imported(name)
    return frozenset(found)


def path_of(module: str) -> Path | None:
    """File of one of our modules; None for the modules of others."""
    parts = module.split(".")
    stem = (INSTALLED if parts[0] == "sklabeldiff" else ROOT).joinpath(*parts)
    files = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((path for path in files if path.exists()), None)


def imported(module: str) -> Iterator[str]:
    """Names of all modules that a module imports, wherever in the file."""
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            yield from (_defining_module(base, alias.name) for alias in node.names)


def _defining_module(base: str, name: str) -> str:
    """Where ``from base import name`` finds the name, past packages that pass it on."""
    if path_of(f"{base}.{name}") is not None:
        return f"{base}.{name}"
    path = path_of(base)
    if path is not None and path.name == "__init__.py":
        for node in _tree(base).body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return _defining_module(_base(base, node), alias.name)
    return base


def _base(module: str, node: ast.ImportFrom) -> str:
    """Full name of the module that a ``from`` names, dots resolved."""
    if not node.level:
        return node.module or ""
    path = path_of(module)
    is_package = path is not None and path.name == "__init__.py"
    above = module.split(".")
    above = above[: len(above) - node.level + is_package]
    return ".".join([*above, *filter(None, [node.module])])


def _tree(module: str) -> ast.Module:
    path = path_of(module)
    assert path is not None  # only called for modules of ours
    return ast.parse(path.read_text())


@cache
def code_of(module: str) -> str:
    """Syntax of a module without comments and docstrings, which change nothing."""
    tree = _tree(module)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            body.pop(0)
    return ast.dump(tree)


def _is_text(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
