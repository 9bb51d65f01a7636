"""Scores of predictions and of training beliefs when labels are candidate sets.

`covering_rate`, `approximated_accuracy` and `candidate_log_likelihood` need no true
label, so they can choose a model. The others need the truth and are for evaluation.
Scorers are for ``scoring=`` in scikit-learn's model selection; those that need the
truth take it as metadata, see `make_true_label_scorer`. `frechet_distance` and
`density_coverage` compare generated rows with real ones.
"""

from sklabeldiff.metrics._candidates import (
    approximated_accuracy,
    candidate_log_likelihood,
    covering_rate,
)
from sklabeldiff.metrics._entangled import entangled_accuracy, entangled_subset
from sklabeldiff.metrics._generation import density_coverage, frechet_distance
from sklabeldiff.metrics._proba import (
    brier_score,
    expected_calibration_error,
    top_k_accuracy,
)
from sklabeldiff.metrics._scorers import (
    approximated_accuracy_scorer,
    candidate_log_likelihood_scorer,
    covering_rate_scorer,
    disambiguation_accuracy_scorer,
    entangled_accuracy_scorer,
    label_issues_scorer,
    make_true_label_scorer,
    neg_brier_score_scorer,
    neg_expected_calibration_error_scorer,
    top_k_accuracy_scorer,
    true_accuracy_scorer,
)
from sklabeldiff.metrics._truth import (
    disambiguation_accuracy,
    label_issues_average_precision,
)

__all__ = [
    "approximated_accuracy",
    "approximated_accuracy_scorer",
    "brier_score",
    "candidate_log_likelihood",
    "candidate_log_likelihood_scorer",
    "covering_rate",
    "covering_rate_scorer",
    "density_coverage",
    "disambiguation_accuracy",
    "disambiguation_accuracy_scorer",
    "entangled_accuracy",
    "entangled_accuracy_scorer",
    "entangled_subset",
    "expected_calibration_error",
    "frechet_distance",
    "label_issues_average_precision",
    "label_issues_scorer",
    "make_true_label_scorer",
    "neg_brier_score_scorer",
    "neg_expected_calibration_error_scorer",
    "top_k_accuracy",
    "top_k_accuracy_scorer",
    "true_accuracy_scorer",
]
