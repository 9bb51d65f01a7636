"""
Which of these crowd labels is right?
=====================================

Five people looked at each picture, quickly, and they do not agree. The usual way out is
the majority. It throws away what the votes tell: that a picture was called a 3 twice
and an 8 three times says something about both classes, and a classifier that sees many
such pictures can find out which is right.
"""

# %%
# The votes
# ---------
# 1257 handwritten digits and five annotators who mistake a digit for one that looks
# like it, the careless ones in half of the pictures. So that we can count, the mistakes
# are made by a program; on your own data, the table of votes is what you have.

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from sklabeldiff import DDMPClassifier, candidates_from_votes
from sklabeldiff.datasets import make_noisy_labels
from sklabeldiff.plotting import BeliefDisplay, CooccurrenceDisplay
from sklabeldiff.targets import vote_labels

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0)

careless = [0.2, 0.3, 0.4, 0.5, 0.5]  # share of wrong votes of each annotator
votes = np.column_stack(
    [
        make_noisy_labels(X, y, kind="parts", rate=rate, random_state=seed)
        for seed, rate in enumerate(careless)
    ]
)
print(votes[:3])  # one line a picture, one column an annotator

# %%
# From votes to candidate sets
# ----------------------------
# A class is a candidate if anybody gave it; ``soft=True`` keeps how many did, as
# weights. Which classes get confused can be seen before anything is trained.

sets, classes = candidates_from_votes(votes, soft=True)
print(f"{(sets > 0).sum(axis=1).mean():.1f} candidates a picture")
print(f"the truth is among them in {(sets[np.arange(len(y)), y] > 0).mean():.3f}")
CooccurrenceDisplay.from_predictions(sets, classes=classes)
plt.show()

# %%
# Majority or sets?
# -----------------
# The same test digits for three classifiers: two of them learn from the majority.

majority = vote_labels(votes)
print(f"the majority is right in {(majority == y).mean():.3f} of the pictures")

accuracy = {
    "logistic regression on the majority": LogisticRegression(max_iter=2000)
    .fit(X / 16, majority)
    .score(X_test / 16, y_test),
    "DDMP on the majority": DDMPClassifier(random_state=0)
    .fit(X, majority)
    .score(X_test, y_test),
}
model = DDMPClassifier(random_state=0).fit(X, sets)
accuracy["DDMP on the sets"] = model.score(X_test, y_test)
for name, value in accuracy.items():
    print(f"{name:38s} {value:.3f}")

# %%
# What became of the votes
# ------------------------
# The rows whose beliefs moved most. Before, beliefs are shares of the votes, mended by
# similar pictures; after, most are settled. A ring marks the true class.

resolved = (model.label_distribution_.argmax(axis=1) == y).mean()
print(f"after training {resolved:.3f} of the pictures are labelled right")
BeliefDisplay.from_predictions(
    sets, model.label_distribution_, classes=classes, true_labels=y, n_rows=14
)
plt.show()

# %%
# With your own votes: a long table of task, worker and answer goes into
# ``candidates_from_votes`` as it is. Raise ``min_votes`` where many people voted and
# one vote alone means little. If the truth is often not among the votes, sets are the
# wrong tool: give :class:`~sklabeldiff.DTMClassifier` the majority instead.
