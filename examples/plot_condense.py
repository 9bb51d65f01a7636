"""
Can a noisy data set be boiled down to a clean one?
===================================================

A third of the labels are wrong. Whoever gets the data next would rather have a few
hundred rows whose labels are right: small enough to look at, and enough to train on.
They need not even be rows of the data.
"""

# %%
# Labels, of which a third are wrong
# ----------------------------------

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from sklabeldiff import DMISClassifier
from sklabeldiff.datasets import make_noisy_labels

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)
labels = make_noisy_labels(X_train, y_train, "symmetric", rate=0.33, random_state=0)
print(f"{(labels == y_train).mean():.3f} of {len(labels)} labels are right")

# %%
# Draw twenty rows of each class
# ------------------------------
# :class:`~sklabeldiff.DMISClassifier` learns how the rows of each class look and, while
# it does, which labels to believe. ``condense`` draws new rows.

model = DMISClassifier(supervision="noisy", random_state=0).fit(X_train, labels)
X_small, y_small = model.condense(20)
print(X_small.shape)

# %%
# What are they worth?
# --------------------
# The same plain classifier learns from each, and is asked about real digits.

rng = np.random.default_rng(0)
some = np.concatenate(
    [rng.choice(np.flatnonzero(labels == k), 20, replace=False) for k in range(10)]
)
trained_on = {
    "200 rows as they are": (X_train[some], labels[some]),
    "all 1257 rows as they are": (X_train, labels),
    "200 drawn rows": (X_small, y_small),
    "all 1257 rows, true labels": (X_train, y_train),
}
accuracy = {}
for name, (rows, given) in trained_on.items():
    plain = LogisticRegression(max_iter=2000).fit(rows / 16, given)
    accuracy[name] = plain.score(X_test / 16, y_test)
    print(f"{name:28s} {accuracy[name]:.3f}")

# %%
# Nine of each class
# ------------------

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
tiles = X_small.reshape(10, 20, 8, 8)[:, :9]
tiles = np.pad(tiles, [(0, 0), (0, 0), (1, 1), (1, 1)])
left.imshow(np.block([list(row) for row in tiles]), cmap="gray_r", vmin=0, vmax=16)
left.set(title="drawn rows", xticks=[], yticks=np.arange(10) * 10 + 4.5)
left.set_yticklabels(range(10))
bars = right.barh(list(accuracy), list(accuracy.values()), color="#0072B2")
right.bar_label(bars, fmt="%.3f", padding=3)
right.invert_yaxis()
right.set(xlim=(0, 1.12), xlabel="accuracy of logistic regression on real digits")
plt.show()

# %%
# Drawn rows can be shared where the data themselves may not, but that is no promise of
# privacy: a model may have learnt a row by heart. ``python -m benchmarks generate``
# (:doc:`/benchmarks/generate`) has more sizes, seeds and data.
