"""Break the package on purpose: each patch of this folder must turn its tests red.

    python tests/mutants/run.py               every check
    python tests/mutants/run.py 4 5 16        some checks
    python tests/mutants/run.py -j 1          one at a time

A patch is applied to a copy of the package in a temporary folder, and the tests of the
table run against the copy. First they run against an unbroken copy: a test that is red
anyway proves nothing. The exit status is 1 if a test stays green under its patch, a
patch does not apply, or a test is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COPIED = ("sklabeldiff", "tests", "pyproject.toml")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

GRAPH = "tests/core/test_graph.py"
KERNELS = "tests/core/test_kernels.py"
PROCESS = "tests/core/test_process.py"
TRANSITIONS = "tests/core/test_transitions.py"
DIFFUSION = "tests/core/test_label_diffusion.py"
DDMP = "tests/test_ddmp.py"

# Patch -> tests that must fail under it, each by itself. The two digits are the check
# of the method page.
MUTANTS = {
    "check_01_mass_off_candidates": [
        f"{GRAPH}::test_beliefs_are_distributions_over_candidates",
        f"{GRAPH}::test_single_candidates_stay_one_hot",
    ],
    "check_02_own_neighbour": [f"{GRAPH}::test_no_row_is_its_own_neighbour"],
    "check_03_class_order": [
        f"{GRAPH}::test_relabelling_classes_permutes_the_beliefs",
    ],
    "check_04_square_root_coefficient": [
        f"{PROCESS}::test_marginal_equals_iterated_steps",
    ],
    "check_05_posterior_weight": [
        f"{PROCESS}::test_posterior_is_the_gaussian_product",
        f"{PROCESS}::test_posterior_weights_sum_to_one",
    ],
    "check_06_noise_without_root": [
        f"{PROCESS}::test_draws_have_the_moments_of_the_marginal",
    ],
    "check_07_training_mode": [
        f"{DIFFUSION}::test_any_batch_split_gives_the_same_answer",
    ],
    "check_08_clean_state": [
        f"{PROCESS}::test_ddim_with_the_true_noise_returns_the_clean_state",
    ],
    "check_09_loss_sum": [f"{DIFFUSION}::test_network_that_returns_zero_has_loss_one"],
    "check_10_free_diagonal": [
        f"{TRANSITIONS}::test_set_transition_finds_the_flip_rate"
    ],
    "check_10_row_prior": [
        f"{TRANSITIONS}::"
        "test_row_transition_is_stochastic_and_dominated_by_its_diagonal",
    ],
    "check_10_unlabelled_rows_count": [
        f"{TRANSITIONS}::test_rows_that_may_be_any_class_say_nothing",
    ],
    "check_11_wrong_inverse": [
        f"{TRANSITIONS}::test_inverse_says_nothing_under_uniform_flips",
    ],
    "check_12_refresh_forgets": [
        f"{TRANSITIONS}::"
        "test_refresh_without_model_or_transition_keeps_the_best_candidate",
    ],
    "check_13_transposed_transition": [
        f"{TRANSITIONS}::test_reweighting_resolves_class_dependent_flips",
    ],
    "check_13_free_passes_without_sets": [
        f"{KERNELS}::test_free_passes_weigh_answers_by_the_likelihood_of_the_sets",
        f"{KERNELS}::test_trust_in_the_transition_resolves_confused_pairs",
    ],
    "check_14_contrary_refresh": [f"{DDMP}::test_gated_refresh_does_not_hurt"],
    "check_15_early_refresh": [
        f"{DIFFUSION}::test_plan_refreshes_only_after_half_of_the_epochs",
        f"{DIFFUSION}::test_refreshes_wait_for_half_of_the_epochs",
    ],
    "check_15_no_agreement_guard": [
        f"{DIFFUSION}::test_model_that_contradicts_a_tenth_refreshes_nothing",
    ],
    "check_15_no_collapse_guard": [
        f"{TRANSITIONS}::test_emptied_class_is_a_collapse",
        f"{DIFFUSION}::test_refresh_that_empties_a_class_is_dropped_and_ends_refreshes",
    ],
    "check_16_farthest_class": [f"{DDMP}::test_digits_accuracy"],
    "check_17_uniform_beliefs": [f"{DDMP}::test_beats_uniform_beliefs"],
    "check_18_inverted_target": [f"{DDMP}::test_singletons_reduce_to_supervision"],
    "check_19_not_normalised": [
        f"{DDMP}::test_proba_rows_sum_to_one_and_fits_repeat",
    ],
    "check_20_square_table": [f"{GRAPH}::test_peak_memory_has_no_square_table"],
}


def copy_package(folder: Path) -> None:
    """Copy the package and its tests."""
    unwanted = shutil.ignore_patterns("__pycache__", "mutants")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder / name)


def environment(folder: Path) -> dict[str, str]:
    """Variables under which the copy is the package that is imported."""
    settings = os.environ | dict.fromkeys(THREADS, "1")
    settings |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    beside = ROOT.parent / "shared" / "data"
    if not settings.get("SKLABELDIFF_DATA"):
        settings["SKLABELDIFF_DATA"] = str(beside) if beside.is_dir() else "none"
    return settings


def run_tests(folder: Path, tests: list[str]) -> dict[str, str]:
    """Run tests against the copy; "green", "red" or "missing" for each."""
    settings = environment(folder)
    # The origin is found without running the package, which takes seconds.
    script = "import importlib.util as u; print(u.find_spec('sklabeldiff').origin)"
    imported = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if Path(imported).parent != folder / "sklabeldiff":
        raise RuntimeError(f"The tests would import {imported}, not the copy.")
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, f"--rootdir={folder}", f"--junitxml={report}", *tests],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
    )
    # 0 and 1: the tests ran. Anything else is no verdict on the package.
    if done.returncode not in (0, 1) or not report.exists():
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
        return dict.fromkeys(tests, "missing")
    return verdicts(report, tests)


def verdicts(report: Path, tests: list[str]) -> dict[str, str]:
    """Read a junit report. One red case of a parametrised test makes it red."""
    found = dict.fromkeys(tests, "missing")
    for case in ElementTree.parse(report).iter("testcase"):
        path = case.get("classname", "").replace(".", "/") + ".py"
        node = f"{path}::{case.get('name', '').partition('[')[0]}"
        if node in found and case.find("skipped") is None:
            failed = any(case.find(tag) is not None for tag in ("failure", "error"))
            found[node] = "red" if failed or found[node] == "red" else "green"
    return found


def try_mutant(name: str) -> list[str]:
    """Return what is wrong: nothing if every test of the mutant went red."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as temporary:
        folder = Path(temporary).resolve()
        copy_package(folder)
        applied = subprocess.run(
            ["git", "apply", str(HERE / f"{name}.patch")],
            cwd=folder,
            env=os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)},
            capture_output=True,
            text=True,
        )
        if applied.returncode:
            return [f"the patch does not apply: {applied.stderr.strip()}"]
        results = run_tests(folder, MUTANTS[name])
    return [
        f"{node} is {result}" for node, result in results.items() if result != "red"
    ]


def try_unbroken(tests: list[str]) -> list[str]:
    """Return the tests that are not green without any patch."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as temporary:
        folder = Path(temporary).resolve()
        copy_package(folder)
        results = run_tests(folder, tests)
    return [f"{node} is {r}" for node, r in results.items() if r != "green"]


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checks", nargs="*", type=int, help="numbers; all if none")
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument(
        "--skip-unbroken", action="store_true", help="do not test the unbroken copy"
    )
    args = parser.parse_args()

    unlisted = {path.stem for path in HERE.glob("*.patch")} ^ MUTANTS.keys()
    if unlisted:
        print(f"Patches and table differ: {sorted(unlisted)}")
        return 1
    names = [n for n in MUTANTS if not args.checks or int(n[6:8]) in args.checks]
    jobs = {name: lambda name=name: try_mutant(name) for name in names}
    if not args.skip_unbroken:
        tests = list(dict.fromkeys(test for name in names for test in MUTANTS[name]))
        jobs["unbroken"] = lambda: try_unbroken(tests)
    # The longest job first.
    order = sorted(jobs, key=lambda name: name != "unbroken")
    survivors = 0
    with ThreadPoolExecutor(args.j) as pool:
        running = {name: pool.submit(jobs[name]) for name in order}
        for name in order:
            wrong = running[name].result()
            survivors += bool(wrong)
            print(f"{'FAIL' if wrong else 'ok  '} {name}", *wrong, sep="\n     ")
            sys.stdout.flush()
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
