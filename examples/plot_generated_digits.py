"""
What does a 3 look like, if nobody says which digits are 3s?
============================================================

Handwritten digits, each with a set of classes that it may belong to: the right one, and
every other with probability one half. No row says for sure what a 3 looks like. Can new
digits of a chosen class be drawn all the same?

Ordinary conditioning takes the labels as they are: the network is told the whole set
and learns what rows with such a set look like. Asked for a 3 alone it meets a condition
it has hardly seen. :class:`~sklabeldiff.DMISClassifier` conditions on single classes
from the start, and finds out while it learns which class of the set explains a row
best.
"""

# %%
# The labels
# ----------
# The test digits keep their true labels, to judge what will be drawn.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from sklabeldiff import DMISClassifier
from sklabeldiff.datasets import make_candidate_sets

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)
sets = make_candidate_sets(y_train, kind="uniform", rate=0.5, random_state=0)
print(f"{len(X_train)} digits with {sets.sum(axis=1).mean():.1f} candidates each")

# %%
# Two ways to learn from them
# ---------------------------
# Both networks are alike. Each draws 100 digits a class; a plain classifier that has
# seen nothing but these is then asked about real digits.

models = {
    "vanilla conditioning": DMISClassifier(conditioning="vanilla", random_state=0),
    "DMIS": DMISClassifier(random_state=0),
}
drawn, accuracy = {}, {}
for name, model in models.items():
    model.fit(X_train, sets)
    X_drawn, y_drawn = model.condense(100)
    drawn[name] = X_drawn.reshape(10, 100, 8, 8)  # class, number, pixels
    classifier = LogisticRegression(max_iter=2000).fit(X_drawn / 16, y_drawn)
    accuracy[name] = classifier.score(X_test / 16, y_test)
    print(f"{name:22s} trains a classifier to {accuracy[name]:.3f} on real digits")

# %%
# Eight of each, the first that were drawn
# ----------------------------------------

figure, axes = plt.subplots(1, 2, figsize=(9, 6), layout="constrained")
for axis, (name, digits) in zip(axes, drawn.items(), strict=True):
    tiles = np.pad(digits[:, :8], [(0, 0), (0, 0), (1, 1), (1, 1)])  # (10, 8, 10, 10)
    axis.imshow(np.block([list(row) for row in tiles]), cmap="gray_r", vmin=0, vmax=16)
    axis.set(title=name, xticks=[], yticks=np.arange(10) * 10 + 4.5)
    axis.set_yticklabels(range(10))
    axis.set_xlabel(f"trains a classifier to {accuracy[name]:.3f} on real digits")
axes[0].set_ylabel("class asked for")
plt.show()

# %%
# On the left most digits look like digits: the network knows how people write. It does
# not know which class is which, since hardly a row came with one class alone, and the
# classifier learns the mixture. On the right rows are of one class.
#
# The digits are coarse because the training is short. On your own data let it be longer
# (``max_epochs``) and the network wider (``hidden``); give ``image_shape`` for larger
# pictures, and ask :func:`~sklabeldiff.metrics.frechet_distance` and
# :func:`~sklabeldiff.metrics.density_coverage`, class by class, which setting comes
# nearest to rows whose labels you trust. Rows that are to train another classifier come
# out of ``condense``, with their labels.
