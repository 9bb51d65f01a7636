"""DDMP in a picture: sets, beliefs, a path, and the classes of the plane."""

import numpy as np
from _toy import COLOURS, draw_classes, draw_mixtures, rows_with_sets
from matplotlib import pyplot as plt

from sklabeldiff import DDMPClassifier
from sklabeldiff.plotting import DenoisingPathDisplay

X, y, sets = rows_with_sets()
model = DDMPClassifier(standardize=None, random_state=0).fit(X, sets)
figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")

draw_mixtures(axes[0], X, sets / sets.sum(axis=1, keepdims=True))
axes[0].set_title("1. sets: all candidates alike")
draw_mixtures(axes[1], X, model.initial_label_distribution_)
axes[1].set_title("2. first beliefs, from neighbours")

# The row whose label changes most on the way from the prior mean to the answer.
_, states = model.denoising_path(X)
moved = np.abs(states[:, -1] - states[:, 0]).sum(axis=1)
doubtful = X[[moved.argmax()]]
DenoisingPathDisplay.from_estimator(model, doubtful, titles=[""], ax=axes[2])
for line in axes[2].lines:
    if line.get_label() in "012":
        line.set_color(COLOURS[int(line.get_label())])
axes[2].legend(fontsize=8)
axes[2].set_title("3. a label is denoised (cross)")
axes[2].set_ylabel("")

draw_classes(axes[3], model, X, y)
axes[3].plot(*doubtful.T, "kx", markersize=9, markeredgewidth=2)
axes[3].set_title("4. the classifier (rings: truth)")
plt.show()
