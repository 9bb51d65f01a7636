"""
What if there are a hundred times as many rows?
===============================================

A method that is pleasant on a thousand rows may be hopeless on a hundred thousand.
Before a large fit it pays to know how time grows, and what can be done about it.
"""

# %%
# Time by the number of rows
# --------------------------
# Two classifiers on the same kind of data, ever more of it: DDMP, which trains for at
# most a thousand updates while a table has fewer than a hundred thousand rows, and the
# kernel yardstick, which does not train a network at all.

import time

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import make_blobs
from sklearn.model_selection import cross_val_score

from sklabeldiff import DDMPClassifier
from sklabeldiff.baselines import KernelPropagationClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.model_selection import CandidateStratifiedKFold

sizes = [500, 2000, 8000]
X, y = make_blobs(
    max(sizes) + 2000, n_features=16, centers=10, cluster_std=4.5, random_state=0
)
sets = make_candidate_sets(y, kind="uniform", rate=0.3, random_state=0)
X_test, y_test = X[-2000:], y[-2000:]
methods = {
    "DDMP": DDMPClassifier(random_state=0),
    "kernel yardstick": KernelPropagationClassifier(random_state=0),
}
seconds, accuracy = {}, {}
for name, method in methods.items():
    seconds[name], accuracy[name] = [], []
    for n in sizes:
        began = time.perf_counter()
        method.fit(X[:n], sets[:n])
        seconds[name].append(time.perf_counter() - began)
        accuracy[name].append(method.score(X_test, y_test))
        print(f"{name:18s} {n:5d} rows {seconds[name][-1]:5.1f} s")

# %%
# Time grows more slowly than the rows. ``python -m benchmarks scaling`` goes on to a
# million of them (:doc:`/benchmarks/scaling`): neighbours are searched approximately
# above 100 000 rows, and memory grows with the data, never with its square.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for name, marker in zip(methods, "os", strict=True):
    left.loglog(sizes, seconds[name], marker=marker, label=name)
    right.semilogx(sizes, accuracy[name], marker=marker, label=name)
reference = np.array(sizes) / sizes[0] * seconds["DDMP"][0]
left.loglog(sizes, reference, "--", color="0.6", label="in step with the rows")
left.set(xlabel="rows", ylabel="seconds to fit")
right.set(xlabel="rows", ylabel="accuracy")
for ax in (left, right):
    ax.set_xticks(sizes, [str(n) for n in sizes])
    ax.minorticks_off()
left.legend()
plt.show()

# %%
# Folds are independent, so they go to as many processes as there are cores: ``n_jobs``,
# as everywhere in scikit-learn. Each process first has to start and to import torch,
# which takes seconds: it pays where a fit takes longer than that.

folds = CandidateStratifiedKFold(2, shuffle=True, random_state=0)
for n_jobs in (1, 2):
    began = time.perf_counter()
    scores = cross_val_score(
        methods["DDMP"], X[:4000], sets[:4000], cv=folds, n_jobs=n_jobs
    )
    took = time.perf_counter() - began
    print(f"n_jobs={n_jobs}: {took:.1f} s, covering rate {scores.mean():.3f}")

# %%
# On your own data: fit a tenth first, and look at both curves. Where accuracy has
# stopped growing, more rows buy nothing; where a table is large and simple, begin with
# the yardstick. A GPU is used where torch finds one (``device``).
