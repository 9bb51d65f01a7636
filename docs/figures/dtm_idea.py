"""DTM in a picture: labels, the matrices of two places, and what comes of it."""

import numpy as np
from _toy import COLOURS, draw_classes, frame, rows
from matplotlib import pyplot as plt

from sklabeldiff import DTMClassifier
from sklabeldiff.plotting import TransitionMatrixDisplay

X, y = rows(600)
rng = np.random.default_rng(0)
# How labels go wrong depends on the place: to the left 0 is taken for 2, to the right
# 1 is taken for 0.
wrong = rng.random(len(y)) < 0.4
labels = np.where(wrong & (y == 0), 2, np.where(wrong & (y == 1), 0, y))
model = DTMClassifier(standardize=None, random_state=0).fit(X, labels)

figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")
axes[0].scatter(*X.T, c=[COLOURS[k] for k in labels], s=10)
frame(axes[0])
axes[0].set_title("1. labels, some of them wrong")
places = np.array([[-0.9, -0.5], [0.9, -0.5]])
TransitionMatrixDisplay.from_predictions(
    model.transition(places),
    titles=["2. labels given at ◀", "   and at ▶"],
    ax=axes[1:3],
)
axes[2].set_ylabel("")
draw_classes(axes[3], model, X, y)
for place, marker in zip(places, "<>", strict=True):
    for ax in axes[[0, 3]]:
        ax.plot(*place, marker, color="black", markersize=9)
axes[3].set_title("3. the classifier (rings: truth)")
plt.show()
