"""One fit by several processes, on the GPUs or processors of one or many machines.

    python fit_data_parallel.py                                    one process
    torchrun --nproc-per-node 2 fit_data_parallel.py               two, here
    accelerate launch --multi_gpu fit_data_parallel.py             one for each GPU

On each of 4 machines with 8 GPUs, where 10.0.0.1 is one of them:

    torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d \
        --rdzv-endpoint 10.0.0.1:29500 fit_data_parallel.py

Every process runs this file from the first line to the last, on the same data.
"""

import argparse

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklabeldiff import DDMPClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.distributed import data_parallel


def main() -> None:
    """Fit once, together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-epochs", type=int, default=60)
    parser.add_argument("--save", metavar="FILE", help="keep the classifier")
    args = parser.parse_args()

    X, true = load_digits(return_X_y=True)
    sets = make_candidate_sets(true, rate=0.3, random_state=0)
    X, X_test, sets, _, _, true_test = train_test_split(
        X, sets, true, test_size=0.5, random_state=0
    )
    clf = DDMPClassifier(max_epochs=args.max_epochs, random_state=0)
    with data_parallel() as processes:
        clf.fit(X, sets)
        if processes.is_main:
            print(f"processes: {processes.count}")
            print(f"accuracy: {(clf.predict(X_test) == true_test).mean():.4f}")
            if args.save:
                clf.save(args.save)


if __name__ == "__main__":
    main()
