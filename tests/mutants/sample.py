"""Mutants by the hundred: what a seeded sample of small breaks of core/ leads to.

    python tests/mutants/sample.py --size 300 --seed 0 -j 2

The patches beside this file are breaks that somebody thought of. These are drawn: a
place in sklabeldiff/core where one of cosmic-ray's operators applies, every place
alike, and one of the replacements there. Mutants that differ in annotations only, or do
not compile, are none, and another is drawn.

Against each run the tests that execute the changed statement, short ones first, until
one fails; --seconds bounds what they may take together in an undisturbed run. Which
test executes what, and how long it takes, `make coverage` has measured. A mutant is
killed by a red test, by a crash, or by ten times the time that its tests need.

Survivors and the numbers are printed as Markdown. cosmic-ray is not among the
dependencies of the development: ``pip install cosmic-ray==8.7.0``.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import coverage
import pytest
from cosmic_ray.ast import Visitor, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from run import ROOT, copy_package, environment

CORE = "sklabeldiff/core"
# What pytest's exit statuses mean here; 2 is a module that could not be imported.
KNOWN = {0: "survived", 1: "killed", 2: "killed"}
MEASURED = ROOT / "build" / "coverage"


@dataclass
class Mutant:
    """One change of one file."""

    file: str
    operator: str
    line: int
    code: str
    diff: str
    tests: list[str] = field(default_factory=list)
    seconds: float = 0.0
    verdict: str = ""


class _Places(Visitor):
    """Where an operator applies, as starts of what it would change."""

    def __init__(self, operator):
        self.operator, self.found = operator, []

    def visit(self, node):
        self.found += [start for start, _ in self.operator.mutation_positions(node)]
        return node


def places(source: str) -> dict[tuple[tuple[int, int], str], list[tuple[str, int]]]:
    """Where mutants are, and which: (position, kind) -> [(operator, occurrence)]."""
    found: dict[tuple[tuple[int, int], str], list[tuple[str, int]]] = {}
    tree = get_ast(source)
    for name in operator_names():
        operator = get_operator(name)
        if operator.arguments():
            continue  # those need names of variables
        kind = name.rpartition("/")[2].split("_")[0]
        visitor = _Places(operator())
        visitor.walk(tree)
        for occurrence, start in enumerate(visitor.found):
            found.setdefault((start, kind), []).append((name, occurrence))
    return found


def meaning(source: str) -> str | None:
    """Source as a tree without annotations, which nothing evaluates; None if broken."""
    try:
        with warnings.catch_warnings(action="ignore"):  # `is` with a number
            compile(source, "mutant", "exec")
            tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        if isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.dump(tree)


def draw(size: int, seed: int) -> list[Mutant]:
    """Draw mutants, every place alike."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / CORE).glob("*.py"))
    sources = {file: (ROOT / file).read_text() for file in files}
    found = {file: places(source) for file, source in sources.items()}
    order = [(file, place) for file in files for place in sorted(found[file])]
    generator = random.Random(seed)
    generator.shuffle(order)
    drawn: list[Mutant] = []
    for file, place in order:
        name, occurrence = generator.choice(found[file][place])
        code = mutate_code(sources[file], get_operator(name)(), occurrence)
        if code is None or meaning(code) in (None, meaning(sources[file])):
            continue
        before, after = sources[file].splitlines(), code.splitlines()
        diff = [
            line
            for line in difflib.unified_diff(before, after, lineterm="", n=0)
            if not line.startswith(("---", "+++", "@@"))
        ]
        pairs = enumerate(zip(before, after, strict=False), 1)
        line = next(i for i, (a, b) in pairs if a != b)
        drawn.append(Mutant(file, name, line, code, "\n".join(diff)))
        if len(drawn) == size:
            break
    return drawn


def durations(report: Path) -> dict[str, float]:
    """Seconds of each test, by its name in pytest."""
    found = {}
    for case in ElementTree.parse(report).iter("testcase"):
        names = case.get("classname", "").split(".")
        file = "/".join(name for name in names if not name[0].isupper()) + ".py"
        inner = [name for name in names if name[0].isupper()]
        test = "::".join([file, *inner, case.get("name", "")])
        if case.find("skipped") is None:
            found[test] = float(case.get("time", 0))
    return found


def statement_lines(source: str, line: int) -> range:
    """Lines of the innermost statement at a line; of its head, if it has a body."""
    best = range(line, line + 1)
    width = float("inf")
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.stmt):
            continue
        body = getattr(node, "body", None)
        end = body[0].lineno - 1 if body else node.end_lineno
        lines = range(node.lineno, max(end, node.lineno) + 1)
        if line in lines and len(lines) < width:
            best, width = lines, len(lines)
    return best


def choose_tests(mutants: list[Mutant], folder: Path, seconds: float) -> None:
    """Give each mutant the tests that execute what it changes, short ones first."""
    data = coverage.CoverageData(str(folder / "coverage"))
    data.read()
    times = durations(folder / "junit.xml")
    by_file = {}
    for measured in data.measured_files():
        for mutant_file in {mutant.file for mutant in mutants}:
            if measured.endswith("/" + mutant_file):
                by_file[mutant_file] = data.contexts_by_lineno(measured)
    for mutant in mutants:
        contexts = by_file[mutant.file]
        source = (ROOT / mutant.file).read_text()
        lines = statement_lines(source, mutant.line)
        names = {
            context.partition("|")[0] for i in lines for context in contexts.get(i, [])
        }
        if not names & times.keys():  # run at import
            stem = Path(mutant.file).stem
            names = {test for test in times if f"test_{stem}.py" in test} or {
                test for test in times if test.startswith("tests/core")
            }
        ranked = sorted(
            (name for name in names if name in times),
            key=lambda name: (times[name], name),
        )
        total = 0.0
        for name in ranked:
            total += times[name]
            if total > seconds and mutant.tests:
                break
            mutant.tests.append(name)
            mutant.seconds = total


def try_mutant(mutant: Mutant, copy: Path) -> None:
    """Run the tests of a mutant in a copy that is otherwise sound."""
    path = copy / mutant.file
    path.write_text(mutant.code)
    try:
        limit = 10 * mutant.seconds + 60
        start = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            signal.alarm(int(limit))
            _run_in_child(mutant, copy)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            late = time.perf_counter() - start > limit - 2
            mutant.verdict = "timeout" if late else "crash"
        else:
            code = os.WEXITSTATUS(status)
            mutant.verdict = KNOWN.get(code, f"error {code}")
        try:
            os.killpg(pid, signal.SIGKILL)  # what tests started
        except ProcessLookupError:
            pass
    finally:
        path.write_text((ROOT / mutant.file).read_text())


def _run_in_child(mutant: Mutant, copy: Path) -> None:
    """Be pytest; the libraries are imported already, the package is not."""
    code = 99  # nothing but an exit leads out of here: what follows is the parent's
    try:
        os.chdir(copy)
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 1)
        os.dup2(silence, 2)
        os.environ.update(environment(copy))
        sys.path.insert(0, str(copy))
        sys.dont_write_bytecode = True
        options = ["-x", "-q", "-p", "no:cacheprovider", f"--rootdir={copy}"]
        code = int(pytest.main([*options, *mutant.tests]))
    finally:
        os._exit(code)


def worker(mutants: list[Mutant]) -> list[Mutant]:
    """Try mutants one after the other in a copy of this worker's own."""
    with tempfile.TemporaryDirectory(prefix="sampled-") as temporary:
        copy = Path(temporary).resolve()
        copy_package(copy)
        for mutant in mutants:
            start = time.perf_counter()
            try_mutant(mutant, copy)
            spent = time.perf_counter() - start
            place = f"{mutant.file}:{mutant.line}"
            print(
                f"{mutant.verdict:12} {spent:5.0f} s  {place}  {mutant.operator}"
                f"  ({len(mutant.tests)} tests)",
                file=sys.stderr,
                flush=True,
            )
    return mutants


def report(mutants: list[Mutant], seed: int) -> str:
    """Write what came out as Markdown."""
    verdicts = Counter(mutant.verdict for mutant in mutants)
    alive = [mutant for mutant in mutants if mutant.verdict == "survived"]
    share = 1 - len(alive) / len(mutants)
    lines = [
        f"{len(mutants)} mutants of {CORE}, seed {seed}: {share:.1%} killed "
        f"({dict(verdicts.most_common())}).",
        "",
    ]
    for mutant in alive:
        title = f"{mutant.file}:{mutant.line}, {mutant.operator.rpartition('/')[2]}"
        lines += [f"{title}, {len(mutant.tests)} tests", "```diff", mutant.diff, "```"]
    return "\n".join(lines)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--measured", type=Path, default=MEASURED)
    parser.add_argument("--only", nargs="*", default=(), help="file:line")
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1, help="at a time")
    args = parser.parse_args()

    if not (args.measured / "junit.xml").exists():
        parser.error(f"{args.measured} is empty: run `make coverage` first.")
    mutants = draw(args.size, args.seed)
    choose_tests(mutants, args.measured, args.seconds)
    if args.only:
        mutants = [
            m for m in mutants if f"{m.file}:{m.line}".endswith(tuple(args.only))
        ]
    print(f"{len(mutants)} mutants", file=sys.stderr, flush=True)
    shares = [mutants[i :: args.j] for i in range(args.j)]
    with ProcessPoolExecutor(args.j, multiprocessing.get_context("fork")) as pool:
        tried = [mutant for share in pool.map(worker, shares) for mutant in share]
    print(report(sorted(tried, key=lambda m: (m.file, m.line)), args.seed))
    return 0


if __name__ == "__main__":
    # Children of the fork find these imported, and the package not.
    import skorch  # noqa: F401
    import torch  # noqa: F401

    raise SystemExit(main())
