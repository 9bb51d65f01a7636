"""The command line: ``python -m benchmarks SUITE``, ``show SUITE`` or a measurement."""

from __future__ import annotations

import os

# One core a worker. The variables count only before numpy and torch are loaded.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse  # noqa: E402
import shlex  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from benchmarks import (  # noqa: E402
    encoding,
    fits,
    generate,
    lra,
    many_classes,
    report,
    runner,
    scaling,
    simclr,
    speed,
    unet,
)
from benchmarks.suites import SUITES  # noqa: E402

# What is no table of methods on cells: each declares its options and has a main.
MEASUREMENTS: dict[str, tuple[Any, str]] = {
    "speed": (speed, "training loop, memory, fit times"),
    "scaling": (scaling, "a thousand rows to a million; ten to 10 000 classes"),
    "many-classes": (many_classes, "ten classes to a thousand"),
    "fits": (fits, "whole fits beside peers'"),
    "lra": (lra, "beside LRA-diffusion's own loop"),
    "encoding": (encoding, "images a second, against a bare loop"),
    "simclr": (simclr, "features learnt without labels"),
    "unet": (unet, "DMIS on images, against conditioning"),
    "generate": (generate, "what generated rows are worth"),
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    texts = {name: suite.help for name, suite in SUITES.items()}
    texts["show"] = "the table of finished tasks, without running any"
    for name, text in texts.items():
        sub = commands.add_parser(name, help=text)
        if name == "show":
            sub.add_argument("what", choices=tuple(SUITES))
        sub.add_argument("--methods", nargs="+", metavar="NAME", help="exact names")
        sub.add_argument("--cells", nargs="+", metavar="NAME", help="starts of names")
        sub.add_argument("--seeds", nargs="+", type=int, metavar="SEED")
        sub.add_argument("--folds", type=int, metavar="N", help="the first N of each")
        sub.add_argument("--save", type=Path, metavar="FILE", help="markdown file")
        if name != "show":
            sub.add_argument("--jobs", type=int, default=os.cpu_count(), metavar="N")
            sub.add_argument("--time-limit", type=float, metavar="MINUTES")
    for name, (module, text) in MEASUREMENTS.items():
        sub = commands.add_parser(name, help=text)
        module.add_arguments(sub)
        sub.add_argument("--save", type=Path, metavar="FILE", help="markdown file")
    return top


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    args = parser().parse_args(argv)
    command = shlex.join(
        ["python", "-m", "benchmarks", *(sys.argv[1:] if argv is None else argv)]
    )
    if getattr(args, "checkout", None) is not None:
        # A folder of this machine tells a reader nothing.
        command = command.replace(shlex.quote(str(args.checkout)), "FOLDER")
    if args.command in MEASUREMENTS:
        module, _ = MEASUREMENTS[args.command]
        return module.main(args, command)

    what = args.what if args.command == "show" else args.command
    try:
        tasks = runner.make_tasks(
            what, args.methods, args.cells, args.seeds, args.folds
        )
    except ValueError as error:
        parser().error(str(error))
    failures: list[str] = []
    if args.command != "show":
        failures = runner.run(tasks, args.jobs, args.time_limit)
    text = report.make(SUITES[what], tasks, runner.finished(tasks), command)
    report.publish(text, args.save)
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
