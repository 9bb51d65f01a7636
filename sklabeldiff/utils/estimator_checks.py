"""Checks that any classifier of candidate sets can be put through.

They ask for what scikit-learn's checks cannot know: that forms of labels which mean the
same give the same model, that no class is preferred for its number, that unlabelled
rows are no evidence, that beliefs stay on the candidates. Run scikit-learn's own checks
beside them. How accurate an estimator is on real data is not checked.

An estimator has ``fit(X, y)``, where y takes the forms of
:func:`~sklabeldiff.targets.encode_candidates`, and ``predict``, ``predict_proba``,
``score`` and ``classes_``; it may have ``label_distribution_``, the beliefs in each
class for each training row. It need not inherit from a class of this package.

Every check is a function of a name and an estimator, and raises an AssertionError that
says what is wrong and what a right estimator does.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from sklearn import config_context
from sklearn.exceptions import EstimatorCheckFailedWarning

from sklabeldiff.utils._contract_checks import (
    check_clone_fits_alike,
    check_cross_validation,
    check_pickling,
    check_rows_are_predicted_alone,
    check_same_seed_same_result,
    check_score_is_covering_rate,
)
from sklabeldiff.utils._form_checks import (
    check_equal_forms_give_equal_fits,
    check_refuses_bad_sets,
    check_single_candidates_are_plain_labels,
    check_string_classes,
)
from sklabeldiff.utils._set_checks import (
    check_absent_class,
    check_beliefs_stay_on_candidates,
    check_class_permutation_equivariance,
    check_unlabelled_row_changes_little,
    check_unlabelled_rows_allowed,
)

__all__ = [
    "check_absent_class",
    "check_beliefs_stay_on_candidates",
    "check_candidate_estimator",
    "check_class_permutation_equivariance",
    "check_clone_fits_alike",
    "check_cross_validation",
    "check_equal_forms_give_equal_fits",
    "check_pickling",
    "check_refuses_bad_sets",
    "check_rows_are_predicted_alone",
    "check_same_seed_same_result",
    "check_score_is_covering_rate",
    "check_single_candidates_are_plain_labels",
    "check_string_classes",
    "check_unlabelled_row_changes_little",
    "check_unlabelled_rows_allowed",
    "parametrize_with_candidate_checks",
]

# What others take for granted comes first.
_CHECKS: tuple[Callable[[str, Any], None], ...] = (
    check_single_candidates_are_plain_labels,
    check_equal_forms_give_equal_fits,
    check_string_classes,
    check_refuses_bad_sets,
    check_class_permutation_equivariance,
    check_absent_class,
    check_unlabelled_row_changes_little,
    check_unlabelled_rows_allowed,
    check_beliefs_stay_on_candidates,
    check_rows_are_predicted_alone,
    check_same_seed_same_result,
    check_clone_fits_alike,
    check_pickling,
    check_score_is_covering_rate,
    check_cross_validation,
)


def parametrize_with_candidate_checks(
    estimators: Iterable[Any],
    *,
    expected_failed_checks: Callable[[Any], dict[str, str]] | None = None,
) -> Any:
    """Decorate a pytest function to run it for each estimator and check.

    Parameters
    ----------
    estimators : iterable of classifiers
        Instances, not classes. They are cloned by the checks.
    expected_failed_checks : callable, default=None
        Maps an estimator to a dict from the names of the checks that it is expected to
        fail to the reasons. These tests are marked as xfail.

    Returns
    -------
    decorator : pytest.MarkDecorator
        Gives the function its arguments ``estimator`` and ``check``, a function of the
        estimator.

    Raises
    ------
    TypeError
        If a class is given for an instance.

    See Also
    --------
    check_candidate_estimator : Runs the checks without pytest.
    sklearn.utils.estimator_checks.parametrize_with_checks : For the conventions that
        all estimators share.

    Examples
    --------
    >>> from sklabeldiff.baselines import PLKNNClassifier
    >>> from sklabeldiff.utils.estimator_checks import parametrize_with_candidate_checks
    >>> @parametrize_with_candidate_checks([PLKNNClassifier()])
    ... def test_candidate_sets(estimator, check):
    ...     check(estimator)
    """
    import pytest

    params = []
    for estimator in estimators:
        _check_instance(estimator)
        reasons = expected_failed_checks(estimator) if expected_failed_checks else {}
        name = type(estimator).__name__
        for check in _CHECKS:
            reason = reasons.get(check.__name__)
            marks = () if reason is None else pytest.mark.xfail(reason=reason)
            params.append(pytest.param(estimator, partial(check, name), marks=marks))
    return pytest.mark.parametrize("estimator, check", params, ids=_test_id)


def check_candidate_estimator(
    estimator: Any, *, on_fail: str | None = "raise"
) -> list[dict[str, Any]]:
    """Run all checks of candidate-set classifiers.

    Parameters
    ----------
    estimator : classifier
        An instance, not a class. It is cloned.
    on_fail : {"raise", "warn"} or None, default="raise"
        What to do when a check fails: raise its exception at once, warn and go on, or
        go on.

    Returns
    -------
    results : list of dict
        For each check "check_name", "status", which is "passed" or "failed", and
        "exception", which is None where the check passed.

    Raises
    ------
    AssertionError
        The first failure, if `on_fail` is "raise".
    TypeError
        If a class is given for an instance.
    ValueError
        If `on_fail` is none of the three.

    Warns
    -----
    EstimatorCheckFailedWarning
        For each failure, if `on_fail` is "warn".

    See Also
    --------
    parametrize_with_candidate_checks : The same for pytest, a test for each check.
    sklearn.utils.estimator_checks.check_estimator : For the conventions that all
        estimators share.

    Examples
    --------
    >>> from sklabeldiff.baselines import PLKNNClassifier
    >>> from sklabeldiff.utils.estimator_checks import check_candidate_estimator
    >>> results = check_candidate_estimator(PLKNNClassifier())
    >>> {result["status"] for result in results}
    {'passed'}
    """
    if on_fail not in ("raise", "warn", None):
        raise ValueError(f"on_fail must be 'raise', 'warn' or None, got {on_fail!r}.")
    _check_instance(estimator)
    results = []
    for check in _CHECKS:
        exception = None
        try:
            check(type(estimator).__name__, estimator)
        except Exception as error:
            if on_fail == "raise":
                raise
            exception = error
        result = {
            "check_name": check.__name__,
            "status": "passed" if exception is None else "failed",
            "exception": exception,
        }
        results.append(result)
        if exception is not None and on_fail == "warn":
            warning = EstimatorCheckFailedWarning(
                estimator=estimator,
                expected_to_fail=False,
                expected_to_fail_reason="",
                **result,
            )
            warnings.warn(warning, stacklevel=2)
    return results


def _check_instance(estimator: Any) -> None:
    if isinstance(estimator, type):
        raise TypeError(
            f"{estimator.__name__} is a class. Give an instance: "
            f"{estimator.__name__}()."
        )


def _test_id(value: Any) -> str:
    """Parameters of an estimator that differ from the defaults, or a check's name."""
    if isinstance(value, partial):
        return value.func.__name__
    with config_context(print_changed_only=True):
        return re.sub(r"\s", "", str(value))
