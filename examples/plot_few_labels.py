"""
How far do a few labels a class go?
===================================

A few rows are labelled, the others are not. scikit-learn marks them with -1 and has
methods for it. Here an unlabelled row is one that may be any class, so that every
classifier of this package is a semi-supervised one.
"""

# %%
# Labels for a few digits
# -----------------------

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading

from sklabeldiff import DDMPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X / 16, y, test_size=0.3, stratify=y, random_state=0
)


def few_labels(n_per_class, seed):
    """Labels of a few rows of each class, -1 for the others."""
    rng = np.random.default_rng(seed)
    kept = [
        rng.choice(np.flatnonzero(y_train == k), n_per_class, replace=False)
        for k in range(10)
    ]
    labels = np.full(len(y_train), -1)
    labels[np.concatenate(kept)] = y_train[np.concatenate(kept)]
    return labels


# %%
# Three ways
# ----------
# Logistic regression on the labelled rows alone; label spreading; and DDMP, told by
# ``missing_label`` what -1 means (``None`` and NaN need no telling). Pixels share one
# scale, which is not to be undone: hence ``standardize=None``.


def accuracies(labels):
    """Test accuracy of each method."""
    known = labels != -1
    alone = LogisticRegression(max_iter=1000).fit(X_train[known], labels[known])
    spread = LabelSpreading(kernel="knn", n_neighbors=7).fit(X_train, labels)
    ddmp = DDMPClassifier(missing_label=-1, standardize=None, random_state=0)
    ddmp.fit(X_train, labels)
    return [model.score(X_test, y_test) for model in (alone, spread, ddmp)]


methods = ["labelled rows alone", "LabelSpreading", "DDMPClassifier"]
sizes, seeds = [2, 5, 15], [0, 1]
found = np.array([[accuracies(few_labels(n, s)) for s in seeds] for n in sizes])
for n, scores in zip(sizes, found, strict=True):
    line = ", ".join(
        f"{m} {v:.3f}" for m, v in zip(methods, scores.mean(0), strict=True)
    )
    print(f"{n} a class: {line}")

# %%
# Lines are means over two draws of the labelled rows, dots the draws. What the
# unlabelled digits add is most where labels are few.

figure, ax = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
for j, (name, marker) in enumerate(zip(methods, "so^", strict=True)):
    (line,) = ax.plot(sizes, found[..., j].mean(axis=1), marker=marker, label=name)
    ax.plot(sizes, found[..., j], ".", color=line.get_color(), alpha=0.5)
ax.set(xlabel="labels for each class", ylabel="accuracy on new digits", xticks=sizes)
ax.legend()
plt.show()

# %%
# Two draws say little: ``python -m benchmarks semi`` compares on four data sets and
# three seeds (:doc:`/benchmarks/semi`). On your own data look at how the accuracy
# varies with *which* rows are labelled, before you compare methods: often that is the
# larger difference. :class:`~sklabeldiff.DMISClassifier` takes the same labels.
