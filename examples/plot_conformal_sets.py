"""
Which answers can be ruled out, for sure?
=========================================

A classifier trained on candidate sets gives one answer a row. Sometimes one would
rather have a short list of answers that holds the right one nine times in ten. That is
conformal prediction, and there is a good library for it, MAPIE. It needs what training
here does not: some rows whose true label is known. A few hundred are enough.
"""

# %%
# Digits whose labels are ambiguous: beside the right one, every wrong class is a
# candidate with probability one half. Of a third of the rows we know the truth; half of
# these calibrate, the other half shows whether the promise is kept.

import numpy as np
from mapie.classification import SplitConformalClassifier
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklabeldiff import DDMPClassifier
from sklabeldiff.calibration import CandidateCalibratedClassifier
from sklabeldiff.datasets import make_candidate_sets

X, y = load_digits(return_X_y=True)
X, X_clean, y, y_clean = train_test_split(X, y, test_size=1 / 3, random_state=0)
X_calib, X_test, y_calib, y_test = train_test_split(
    X_clean, y_clean, test_size=0.5, random_state=0
)
sets = make_candidate_sets(y, kind="uniform", rate=0.5, random_state=0)

# %%
# The classifier sees the sets only. Its probabilities are tempered by the likelihood of
# held-out sets, still without a true label: better ranked classes make shorter lists.

classifier = CandidateCalibratedClassifier(DDMPClassifier(random_state=0), cv=3)
classifier.fit(X, sets)
print(f"accuracy of the single answers: {classifier.score(X_test, y_test):.3f}")

# %%
# MAPIE takes the fitted classifier as it is. For each level it finds how unlikely a
# class may be and still be on the list.

levels = np.linspace(0.8, 0.99, 20)
conformal = SplitConformalClassifier(
    classifier, confidence_level=levels.tolist(), prefit=True
)
conformal.conformalize(X_calib, y_calib)
_, lists = conformal.predict_set(X_test)  # (n_rows, n_classes, n_levels), bool

rows = np.arange(len(y_test))
coverage = lists[rows, y_test].mean(axis=0)
length = lists.sum(axis=1).mean(axis=0)

# %%
# The lists keep the promise up to chance (the band is two standard errors), and grow
# only where more is asked for than the single answers give.

error = 2 * np.sqrt(levels * (1 - levels) / len(y_test))
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
left.fill_between(levels, levels - error, levels + error, color="0.9")
left.plot(levels, levels, color="0.6", label="promised")
left.plot(levels, coverage, "o-", label="found")
left.set(xlabel="confidence level", ylabel="lists that hold the truth")
left.legend()
right.plot(levels, length, "s-", color="C1")
right.set(xlabel="confidence level", ylabel="mean number of classes on the list")
plt.show()

# %%
# On your own data: keep the clean rows out of training, take a hundred at the least,
# and make sure that they are like the rows to come. The promise is an average over all
# rows; it does not hold for each class by itself.
