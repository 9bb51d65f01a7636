"""Search over parameters on the workers of a Ray cluster.

    python search_on_ray.py                            two workers, started here
    python search_on_ray.py --address 10.0.0.1:6379    those of your cluster

The search is scikit-learn's, and so are its results: joblib sends the fits to the
workers, which need sklabeldiff and nothing else. If a worker is lost the search ends
with an error; the cluster goes on, and so does the next search.
"""

import argparse
from typing import Any

import joblib
import ray
from ray.util.joblib import register_ray
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sklabeldiff import DDMPClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.model_selection import CandidateStratifiedKFold


def make_search(n_rows: int, max_epochs: int) -> tuple[GridSearchCV, Any, Any]:
    """Search for the trust in the set transition matrix; rows and candidate sets."""
    X, true = load_digits(return_X_y=True)
    X, true = X[:n_rows], true[:n_rows]
    sets = make_candidate_sets(true, rate=0.3, random_state=0)
    search = GridSearchCV(
        DDMPClassifier(max_epochs=max_epochs, random_state=0),
        {"gamma": [0.3, 0.6]},
        cv=CandidateStratifiedKFold(3, shuffle=True, random_state=0),
    )
    return search, X, sets


def main() -> None:
    """Search on the workers, and print what is best."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", help="of the head of your cluster")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--max-epochs", type=int, default=30)
    args = parser.parse_args()

    search, X, sets = make_search(args.rows, args.max_epochs)
    if args.address:
        ray.init(args.address)
    else:
        ray.init("local", num_cpus=2, include_dashboard=False)
    register_ray()
    # Without n_jobs joblib would stay in this process.
    with joblib.parallel_config("ray", n_jobs=-1):
        search.fit(X, sets)
    ray.shutdown()
    print(search.best_params_)
    print(*search.cv_results_["mean_test_score"])


if __name__ == "__main__":
    main()
