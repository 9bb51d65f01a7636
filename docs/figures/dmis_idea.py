"""DMIS in a picture: sets, rows made from noise, and the posterior."""

from _toy import COLOURS, draw_classes, draw_mixtures, frame, rows_with_sets
from matplotlib import pyplot as plt

from sklabeldiff import DMISClassifier

X, y, sets = rows_with_sets()
model = DMISClassifier(random_state=0).fit(X, sets)
figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")

draw_mixtures(axes[0], X, sets / sets.sum(axis=1, keepdims=True))
axes[0].set_title("1. sets: all candidates alike")
draw_mixtures(axes[1], X, model.label_distribution_)
axes[1].set_title("2. the class that explains a row")
for k, marker in enumerate("os^"):
    drawn = model.sample(k, 80)
    axes[2].scatter(*drawn.T, s=16, color=COLOURS[k], marker=marker)
frame(axes[2])
axes[2].set_title("3. new rows of each class")
draw_classes(axes[3], model, X, y)
axes[3].set_title("4. the classifier (rings: truth)")
plt.show()
