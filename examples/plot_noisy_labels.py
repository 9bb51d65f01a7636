"""
Which of these labels are wrong?
================================

Somebody labelled the data, one label a row, and some labels are wrong. Nobody knows
which. Can they be found, so that a person looks at a few dozen rows instead of all of
them?
"""

# %%
# The labels
# ----------
# Handwritten digits; a fifth of the labels are replaced by wrong ones, more often where
# digits are hard to tell apart. The truth is kept aside to count.

import tempfile
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.manifold import TSNE

from sklabeldiff import DTMClassifier
from sklabeldiff.datasets import make_noisy_labels
from sklabeldiff.metrics import label_issues_average_precision
from sklabeldiff.plotting import EmbeddingDisplay, TransitionMatrixDisplay
from sklabeldiff.report import label_report

X, y = load_digits(return_X_y=True)
labels = make_noisy_labels(X, y, kind="parts", rate=0.2, random_state=0)
print(f"{(labels != y).sum()} of {len(y)} labels are wrong")

# %%
# A ranking
# ---------
# :class:`~sklabeldiff.DTMClassifier` learns the classes and, for every row, how its
# label may have gone wrong. What it believes against the label given is a ranking.

model = DTMClassifier(random_state=0).fit(X, labels)
issues = model.label_issues()
print(issues.head())
print(f"estimated share of wrong labels: {model.noise_rate_:.3f}")

wrong = labels != y
first = issues["row"].to_numpy()[: wrong.sum()]
print(f"of the first {len(first)} rows {wrong[first].mean():.3f} are wrong indeed")
score = issues.sort_values("row")["score"]
precision = label_issues_average_precision(labels, y, score)
print(
    f"average precision of the ranking: {precision:.3f}; by chance {wrong.mean():.3f}"
)

# %%
# How labels go wrong
# -------------------
# The matrix of all rows, and those of two digits: a row has its own. Entry (i, j) is
# the probability that a digit i with this shape was given label j.

TransitionMatrixDisplay.from_estimator(model, X[[3, 8]])
plt.show()

# %%
# Where they are
# --------------
# Rings mark the twenty rows that are doubted most. They lie inside clusters of another
# class than the label says, or between two.

EmbeddingDisplay.from_estimator(model, X, labels, embedding=TSNE(random_state=0))
plt.show()

# %%
# A page to work through
# ----------------------
# ``label_report`` writes one HTML file with the ranking, the pictures, filters, and a
# decision for every row, which it exports as corrected labels.

page = Path(tempfile.mkdtemp()) / "report.html"
label_report(model, X, labels, images=X.reshape(-1, 8, 8), path=page)
print(f"{page.stat().st_size / 1e6:.1f} MB, one file")

# %%
# How far down the list?
# ----------------------
# The rows are looked at from the top. Half of the wrong labels are found in the first
# tenth of the data, most of them in the first quarter.

found = np.cumsum(wrong[issues["row"]]) / wrong.sum()
looked_at = np.arange(1, len(y) + 1) / len(y)
figure, ax = plt.subplots(figsize=(5, 3.6), layout="constrained")
ax.plot(looked_at, found, label="ranking by DTM")
ax.plot([0, wrong.mean(), 1], [0, 1, 1], ":", color="0.5", label="the best there is")
ax.plot([0, 1], [0, 1], "--", color="0.7", label="any order")
ax.set(xlabel="share of the rows looked at", ylabel="share of wrong labels found")
ax.legend()
plt.show()

# %%
# On your own data use ``label_issues(X, labels, cv=5)``, which judges each row by a
# model that has not seen it, and begin at the top. ``noise_rate_`` says about where to
# stop.
