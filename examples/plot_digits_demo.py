"""
Which of these digits is it?
============================

Somebody labelled handwritten digits, but noted every class that seemed possible. How
many of the ambiguous rows can be resolved, and does a classifier trained on them know
new digits?

The candidates are drawn from what an annotator would confuse, so that the wrong ones
depend on the picture: the hard case.
"""

# %%
# The data
# --------
# No true label is shown to any method below; they are kept aside to count.

import sys

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from sklabeldiff import DDMPClassifier
from sklabeldiff.baselines import (
    CandidateWeightedClassifier,
    KernelPropagationClassifier,
    PLKNNClassifier,
    PRODENClassifier,
)
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.plotting import BeliefDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)
Y_train = make_candidate_sets(
    y_train, kind="instance", rate=0.5, X=X_train, random_state=0
)
print(f"{len(X_train)} digits with {Y_train.sum(1).mean():.1f} candidates each")

# %%
# Plain learners beside the label diffusion
# -----------------------------------------

methods = {
    "candidate-weighted logistic regression": CandidateWeightedClassifier(
        LogisticRegression(max_iter=1000)
    ),
    "PL-kNN": PLKNNClassifier(),
    "PRODEN": PRODENClassifier(random_state=0),
    "kernel yardstick": KernelPropagationClassifier(random_state=0),
    "DDMP": DDMPClassifier(random_state=0),
}
accuracy = {}
for name, method in methods.items():
    method.fit(X_train, Y_train)
    accuracy[name] = np.mean(method.predict(X_test) == y_test)
    print(f"{name:40s} test accuracy {accuracy[name]:.3f}")

# %%
# Beliefs before and after
# ------------------------
# Each row of the right-hand tables is a digit on its left, each column a class. Framed
# squares are candidates, the darker the more believed; a ring marks the truth.

ddmp = methods["DDMP"]
given = Y_train / Y_train.sum(1, keepdims=True)
for name, S in {"given": given, "after training": ddmp.label_distribution_}.items():
    right = np.mean(S.argmax(1) == y_train)
    print(f"training digits resolved, {name:15s} {right:.3f}")

hardest = np.argsort(-Y_train.sum(1), kind="stable")[:12]
figure, (left, *tables) = plt.subplots(
    1, 3, figsize=(8, 5.6), width_ratios=(0.6, 5, 5), layout="constrained"
)
BeliefDisplay.from_predictions(
    Y_train, ddmp.label_distribution_, rows=hardest, true_labels=y_train, ax=tables
)
pictures = np.pad(X_train[hardest].reshape(-1, 8, 8), [(0, 0), (1, 1), (1, 1)])
left.imshow(np.concatenate(pictures), cmap="gray_r", aspect="auto")
left.axis("off")
tables[0].set(title="the classes it may be", ylabel="", yticks=[])
tables[1].set(title="what DDMP came to believe")
figure.savefig("demo_beliefs.png", dpi=120)
print("picture: demo_beliefs.png")

# %%
# On data of your own, start with ``score`` on held-out candidate sets: it needs no true
# label. Then compare :class:`~sklabeldiff.DDMPClassifier` with the plain learners above
# by cross-validation.

if accuracy["DDMP"] < accuracy["candidate-weighted logistic regression"]:
    sys.exit("DDMP is below candidate-weighted logistic regression")
