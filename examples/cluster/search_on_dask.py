"""Search over parameters on the workers of a Dask cluster.

    python search_on_dask.py                                 two workers, started here
    python search_on_dask.py --address tcp://10.0.0.1:8786   those of your cluster

The search is scikit-learn's, and so are its results: joblib sends the fits to the
workers, which need sklabeldiff and nothing else. If a worker is lost the search ends
with an error; the cluster goes on, and so does the next search.
"""

import argparse
from typing import Any

import joblib
from dask.distributed import Client
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from sklabeldiff import DDMPClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.model_selection import CandidateStratifiedKFold

# One thread for each fit: where workers share a machine, more get in their way.
TWO_WORKERS = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}


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
    parser.add_argument("--address", help="of the scheduler of your cluster")
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--max-epochs", type=int, default=30)
    args = parser.parse_args()

    search, X, sets = make_search(args.rows, args.max_epochs)
    cluster = {} if args.address else TWO_WORKERS
    with Client(args.address, **cluster), joblib.parallel_config("dask"):
        search.fit(X, sets)
    print(search.best_params_)
    print(*search.cv_results_["mean_test_score"])


if __name__ == "__main__":  # workers import this file
    main()
