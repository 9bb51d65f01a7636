"""Imports point down, and importing the package stays cheap."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sklabeldiff

PACKAGE = Path(sklabeldiff.__file__).parent
NAME = PACKAGE.name


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(module):
    """Full names of all that a module imports, wherever in the file."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            above = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            # `from a import b`: b may be a module or a name in a.
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def is_in(name, packages):
    return any(name == p or name.startswith(f"{p}.") for p in packages)


def own_imports(module):
    return {name for name in imports(module) if is_in(name, [NAME])}


def part(*names):
    """Modules of these parts of the package, as far as they exist."""
    parts = [f"{NAME}.{name}" for name in names]
    return [module for module in MODULES if is_in(module, parts)]


CORE = part("core")
# Whoever imports one of these can fit something.
ESTIMATORS = [
    f"{NAME}.{name}" for name in ("cad", "ddmp", "dmis", "dtm", "base", "baselines")
]


@pytest.mark.parametrize("module", CORE)
def test_core_imports_nothing_above_it(module):
    outside = [n for n in own_imports(module) if not is_in(n, [f"{NAME}.core"])]
    assert not outside


@pytest.mark.parametrize("module", CORE)
def test_core_needs_only_the_numerical_packages(module):
    allowed = {"torch", "numpy", "scipy", "sklearn.neighbors", NAME}
    if module == f"{NAME}.core.training":
        allowed.add("skorch")
    third_party = {
        name
        for name in imports(module)
        if name.partition(".")[0] not in sys.stdlib_module_names
    }
    assert not {name for name in third_party if not is_in(name, allowed)}


@pytest.mark.parametrize(
    "module",
    part(
        *("metrics", "targets", "model_selection", "_cross_val", "_stratification"),
        *("calibration", "utils", "datasets", "plotting", "report", "_report"),
    ),
)
def test_metrics_data_and_plots_know_no_estimator(module):
    assert not {name for name in own_imports(module) if is_in(name, ESTIMATORS)}


@pytest.mark.parametrize("module", [m for m in MODULES if m != NAME])
def test_only_the_front_door_imports_ddmp(module):
    ddmp = [f"{NAME}.ddmp", f"{NAME}.DDMPClassifier"]
    assert not {name for name in imports(module) if is_in(name, ddmp)}


def test_nothing_imports_the_front_door():
    # `from sklabeldiff import x` in a module would import everything, in a circle.
    public = {f"{NAME}.{name}" for name in sklabeldiff.__all__}
    for module in MODULES:
        if module != NAME:
            assert not own_imports(module) & (public | {NAME}), module


IMPORT_SCRIPT = """
import sys
# What the dependencies load by themselves: scikit-learn loads pandas where it finds it.
import safetensors.numpy, scipy.sparse, sklearn.neighbors, skorch, torch, tqdm.auto
before = set(sys.modules)
import sklabeldiff
optional = {"transformers", "matplotlib", "pandas", "polars", "pyarrow", "PIL"}
optional |= {"diffusers", "kornia", "pooch", "sentence_transformers"}
optional |= {"accelerate", "dask", "distributed", "ray"}
print(*(optional & (set(sys.modules) - before)))
"""


def test_import_loads_no_optional_package():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_SCRIPT],
        env=os.environ | {"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize("module", MODULES)
def test_optional_packages_are_imported_inside_functions(module):
    optional = ("transformers", "matplotlib", "pandas", "polars", "PIL")
    optional += ("diffusers", "kornia", "pooch", "sentence_transformers")
    optional += ("accelerate", "dask", "distributed", "ray")
    top = ast.parse(MODULES[module].read_text()).body
    for node in top:
        if isinstance(node, ast.Import):
            assert not any(is_in(alias.name, optional) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not is_in(node.module or "", optional)
