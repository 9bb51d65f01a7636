"""Try every tool of scikit-learn with candidate sets, and keep the table of it.

    python docs/scikit_learn_table.py            write scikit_learn_*.csv
    python docs/scikit_learn_table.py --check    exit with 1 if a cell has changed

A cell says what came out, not whether an exception was raised: "works" if the tool
found what a loop written by hand finds, "wrong answer" if it found something else. A
cell that is not as expected here is named, and nothing is written before its row is
revised. Takes half a minute.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import sklearn

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:  # as it is for a script, but not where pytest imports it
    sys.path.insert(0, str(HERE))

import _scikit_learn_tools as tools  # noqa: E402

TABLE = HERE / "scikit_learn_table.csv"
REFUSALS = HERE / "scikit_learn_refusals.csv"

WORKS, WRONG, REFUSES = "works", "wrong answer", "refuses"
# In the order of tools.FORMS: matrix, frozensets, DataFrame, one label a row.
ALL_WORK = (WORKS,) * 4
ONE_LABEL = (REFUSES, REFUSES, REFUSES, WORKS)
MULTI_LABEL = (WRONG, REFUSES, WRONG, WORKS)

Statuses: TypeAlias = Sequence[str]


class Row(NamedTuple):
    """A tool, how to try it, what is expected of each form, and what to say of it."""

    tool: str
    trial: Callable[[tools.Case], tools.Evidence]
    expected: Statuses
    why: str = ""


class Outcome(NamedTuple):
    """Whether a tool works with one form of `y`; what it says if it refuses."""

    status: str
    message: str = ""


WRAP = ":ref:`Turn it inside out <trap-one-label>`."
ROWS = (
    Row("Pipeline", tools.pipeline, ALL_WORK),
    Row("ColumnTransformer", tools.column_transformer, ALL_WORK),
    Row("FeatureUnion", tools.feature_union, ALL_WORK),
    Row(
        "train_test_split",
        tools.split,
        ALL_WORK,
        "Not with ``stratify=y``, which goes by whole sets and refuses a set that "
        "comes once: :func:`~model_selection.candidate_train_test_split` goes by "
        "classes.",
    ),
    Row("cross_validate", tools.cross_validation, ALL_WORK),
    Row("cross_val_score", tools.score, ALL_WORK),
    Row("cross_val_predict", tools.predictions, ALL_WORK),
    Row(
        'cross_val_predict(method="predict_proba")',
        tools.probabilities,
        (WRONG, WRONG, WRONG, WORKS),
        "Trains on :ref:`recoded columns <trap-proba>`, or on :ref:`numbered sets "
        "<trap-sets>`: use :func:`~model_selection.cross_val_proba`.",
    ),
    Row("learning_curve", tools.learning, ALL_WORK),
    Row("validation_curve", tools.validation, ALL_WORK),
    Row("permutation_test_score", tools.permutation_test, ALL_WORK),
    Row("permutation_importance", tools.importance, ALL_WORK),
    Row("SequentialFeatureSelector", tools.sequential_selection, ALL_WORK),
    Row("GridSearchCV", tools.grid_search, ALL_WORK),
    Row("GridSearchCV(n_jobs=2)", tools.grid_search_in_processes, ALL_WORK),
    Row("RandomizedSearchCV", tools.random_search, ALL_WORK),
    Row("cross_val_score(GridSearchCV(...))", tools.nested_search, ALL_WORK),
    Row(
        "HalvingGridSearchCV",
        tools.halving_search,
        ONE_LABEL,
        "Counts the classes to choose how many rows to begin with: "
        ":ref:`give the number <recipe-halving>`, as in the next row.",
    ),
    Row(
        "HalvingGridSearchCV(min_resources=50)",
        tools.halving_search_with_a_number,
        ALL_WORK,
    ),
    Row("DecisionBoundaryDisplay", tools.boundary, ALL_WORK),
    Row(
        "CalibratedClassifierCV(FrozenEstimator(...))",
        tools.calibration,
        ALL_WORK,
        "The inner classifier has learnt from candidate sets; calibration takes "
        ":ref:`a few clean labels <recipe-calibration>`.",
    ),
    Row(
        "CalibratedClassifierCV(cv=3)",
        tools.calibration_by_folds,
        ONE_LABEL,
        "Needs the truth of the rows held out: calibrate on a clean set, or with "
        ":class:`~calibration.CandidateCalibratedClassifier`.",
    ),
    Row("VotingClassifier", tools.voting, ONE_LABEL, WRAP),
    Row("StackingClassifier", tools.stacking, ONE_LABEL, WRAP),
    Row("BaggingClassifier", tools.bagging, ONE_LABEL, WRAP),
    Row(
        "AdaBoostClassifier",
        tools.boosting,
        (REFUSES,) * 4,
        f"Needs a classifier that takes sample weights. {WRAP}",
    ),
    Row(
        "SelfTrainingClassifier",
        tools.self_training,
        (REFUSES, WORKS, REFUSES, WORKS),
        "It adds nothing to sets, none of which it takes for unlabelled. Give rows "
        "without a label to the classifier itself, as ``None`` or as all classes.",
    ),
    Row(
        "OneVsRestClassifier",
        tools.one_versus_rest,
        MULTI_LABEL,
        f"Answers with a matrix: all classes of the row at once. {WRAP}",
    ),
    Row("OneVsOneClassifier", tools.one_versus_one, ONE_LABEL, WRAP),
    Row(
        "TunedThresholdClassifierCV",
        tools.threshold,
        ONE_LABEL,
        f"For two classes. {WRAP}",
    ),
    Row(
        "SelectKBest in a Pipeline",
        tools.best_features,
        (REFUSES, WRONG, REFUSES, WORKS),
        "Finds what tells the sets apart, not the classes. Use "
        f"``SequentialFeatureSelector``; or make one classifier of both. {WRAP}",
    ),
)


def attempt(trial: Callable[[tools.Case], tools.Evidence], form: str) -> Outcome:
    """Try a tool with one form of `y`."""
    case = tools.make_case(form)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what comes out decides
        try:
            evidence = trial(case)
        except ImportError:  # nothing was tried
            raise
        except Exception as error:
            return Outcome(REFUSES, _opening(error))
    return Outcome(WORKS if evidence.agrees() else WRONG)


def attempts(row: Row) -> list[Outcome]:
    """Try a tool with each form of `y`."""
    return [attempt(row.trial, form) for form in tools.FORMS]


def committed() -> dict[str, list[str]]:
    """Status of each cell in the table, by tool."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))[1:]
    return {
        line[0].strip("`"): [cell.strip("*") for cell in line[1:-1]] for line in lines
    }


def differences(
    found: Mapping[str, Sequence[Outcome]], wanted: Mapping[str, Statuses]
) -> list[str]:
    """Cells that are not as wanted, in words."""
    return [
        f"{tool}, {form}: {now.status}, not {before}. {now.message}".rstrip()
        for tool, outcomes in found.items()
        for form, now, before in zip(
            tools.FORMS, outcomes, wanted.get(tool, ["in the table"] * 4), strict=True
        )
        if now.status != before
    ]


def table_lines(found: Mapping[str, Sequence[Outcome]]) -> list[list[str]]:
    """Cells of the table, the header first."""
    header = [f"scikit-learn {sklearn.__version__}", *tools.FORMS]
    lines = [[*header, "Why, and the way round"]]
    for row in ROWS:
        cells = [
            f"**{status}**" if status == WRONG else status
            for status, _ in found[row.tool]
        ]
        lines.append([f"``{row.tool}``", *cells, row.why])
    return lines


def refusal_lines(found: Mapping[str, Sequence[Outcome]]) -> list[list[str]]:
    """Each message of a refusal with the tools that give it, the header first."""
    speakers: dict[str, list[str]] = {}
    for tool, outcomes in found.items():
        for message in dict.fromkeys(o.message for o in outcomes if o.message):
            speakers.setdefault(message, []).append(f"``{tool}``")
    lines = [[f"``{message}``", ", ".join(who)] for message, who in speakers.items()]
    return [["What it says", "Which tool says so"], *lines]


def main(argv: Sequence[str] | None = None) -> int:
    """Try all, then write or check the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(argv).check
    found = {row.tool: attempts(row) for row in ROWS}
    expected = {row.tool: row.expected for row in ROWS}
    changed = differences(found, committed() if check else expected)
    print(*changed, sep="\n", end="\n" if changed else "")
    if not check and not changed:
        _write(TABLE, table_lines(found))
        _write(REFUSALS, refusal_lines(found))
    return int(bool(changed))


def _opening(error: Exception) -> str:
    """Cut a message before it speaks of the data at hand."""
    return re.split(r"[:(]|\n", str(error).strip())[0].strip()


def _write(path: Path, lines: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


if __name__ == "__main__":
    sys.exit(main())
