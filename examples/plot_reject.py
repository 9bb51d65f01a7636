"""
When is it better not to answer?
================================

A classifier always has an answer. Where a wrong one is expensive one would rather hand
the doubtful rows to a person. Two questions: does the classifier know when it is in
doubt, and how many rows are left to it if it may be wrong in one of fifty?
"""

# %%
# Is it as sure as it is right?
# -----------------------------
# Trained on candidate sets, PL-kNN is far too shy: the votes of its neighbours spread
# over all their candidates. One number, a temperature, mends it, found on held-out sets
# without a true label.

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklabeldiff.baselines import PLKNNClassifier
from sklabeldiff.calibration import (
    CandidateCalibratedClassifier,
    RejectOptionClassifier,
)
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.plotting import ReliabilityDisplay

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
sets = make_candidate_sets(y, kind="uniform", rate=0.5, random_state=0)

plain = PLKNNClassifier().fit(X, sets)
tempered = CandidateCalibratedClassifier(PLKNNClassifier()).fit(X, sets)
shown = ReliabilityDisplay.from_estimator(plain, X_test, y_test, name="PL-kNN")
ReliabilityDisplay.from_estimator(
    tempered, X_test, y_test, name="tempered", ax=shown.ax_
)
plt.show()

# %%
# Withheld answers
# ----------------
# :class:`~sklabeldiff.calibration.RejectOptionClassifier` finds the confidence below
# which to withhold the answer, so that it answers the share of rows asked for.

coverages = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0])
answered, right = [], []
for coverage in coverages:
    model = RejectOptionClassifier(tempered, coverage=coverage, reject_label=-1)
    labels = model.fit(X, sets).predict_with_reject(X_test)
    given = labels != -1
    answered.append(given.mean())
    right.append((labels == y_test)[given].mean())
    print(f"{answered[-1]:.3f} answered, {right[-1]:.3f} of them right")

# %%
# The curve says what certainty costs in work: where it crosses the line, 98 of 100
# answers are right, and the rows to its right go to a person.

figure, ax = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
ax.plot(answered, right, "o-", color="#0072B2")
ax.axhline(0.98, color="0.6", linestyle="--", label="wrong in one of fifty")
ax.set(xlabel="share of the rows answered", ylabel="accuracy of the answers")
ax.legend()
plt.show()

# %%
# On your own data the coverage is kept for rows like those of training, and no true
# label was needed for it. To *promise* an accuracy takes clean rows: see
# :ref:`sphx_glr_auto_examples_plot_conformal_sets.py`.
