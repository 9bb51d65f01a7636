"""What is sent to the workers of an engine: ``python searches.py ENGINE ADDRESS FILE``.

The results go to FILE; `results` computes the same without any engine.
"""

import os
import signal
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import torch
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score

from sklabeldiff import DDMPClassifier
from sklabeldiff.baselines import CCClassifier
from sklabeldiff.core.training import Trainer
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.features import TorchFeatures
from sklabeldiff.model_selection import CandidateStratifiedKFold, cross_val_proba

X, TRUE = load_iris(return_X_y=True)
SETS = make_candidate_sets(TRUE, rate=0.4, random_state=0)
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
FOLDS = CandidateStratifiedKFold(2, shuffle=True, random_state=0)


class Flat(torch.nn.Module):
    """A network; it ends a process that is to be spared."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(192, 8, generator=generator))

    def forward(self, images):
        assert str(os.getpid()) != os.environ.get("SPARED"), "not by a worker"
        return images.flatten(1) @ self.weight


class MortalClassifier(CCClassifier):
    """Its first fit of all ends the process, in the middle."""

    def __init__(self, file=None, *, random_state=None, max_epochs=5):
        super().__init__(random_state=random_state, max_epochs=max_epochs)
        self.file = file

    def fit(self, X, y):
        try:
            Path(self.file).touch(exist_ok=False)
        except FileExistsError:
            return super().fit(X, y)
        Trainer.update_average = lambda self: os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(X, y)


def results():
    """Scikit-learn's cross-validation, our own, and features."""
    clf = DDMPClassifier(max_epochs=3, random_state=0)
    return {
        "cross_val_score": cross_val_score(clf, X, SETS, cv=FOLDS),
        "cross_val_proba": cross_val_proba(clf, X, SETS, cv=2),
        "features": TorchFeatures(Flat(), batch_size=16).transform(IMAGES),
    }


def mortal(file):
    """Cross-validation of which one process does not survive the first fit."""
    clf = MortalClassifier(file, random_state=0)
    return {"scores": cross_val_score(clf, X, SETS, cv=FOLDS)}


CASES = {"results": results, "mortal": mortal}


def main(engine, address, output, case, *args):
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    os.environ["SPARED"] = str(os.getpid())
    if engine == "dask":
        from dask.distributed import Client

        with Client(address), joblib.parallel_config("dask"):
            found = CASES[case](*args)
    else:
        import ray
        from ray.util.joblib import register_ray

        ray.init(address, log_to_driver=False)
        register_ray()
        with joblib.parallel_config("ray", n_jobs=-1):
            found = CASES[case](*args)
    np.savez(output, **found)


if __name__ == "__main__":
    # Workers look for the classes of this file in a module.
    from searches import main as of_module

    of_module(*sys.argv[1:])
