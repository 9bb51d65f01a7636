"""CAD in a picture: digits, and what in them speaks for two of their candidates."""

import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from sklabeldiff import CADClassifier
from sklabeldiff.core.class_gates import contribution_gate
from sklabeldiff.datasets import make_candidate_sets

CLASSES = (3, 9)
X, y = load_digits(return_X_y=True)
sets = make_candidate_sets(y, kind="instance", rate=0.4, X=X, random_state=0)
model = CADClassifier(standardize="standard", random_state=0).fit(X, sets)
scaler, network = model._model  # no public name: gates only live in training

ambiguous = sets[:, CLASSES].all(axis=1)
rows = [(ambiguous & (y == k)).nonzero()[0][0] for k in (3, 9, 5)]
x = torch.as_tensor(scaler(X[rows]))
i = torch.arange(len(rows)).repeat_interleave(2)
s = torch.tensor(CLASSES * len(rows))
gates = contribution_gate(network, x, i, s, torch.zeros(x.shape[1]))
gates = gates.numpy().reshape(len(rows), 2, 8, 8)

figure, axes = plt.subplots(3, 3, figsize=(5.4, 5.2), layout="constrained")
for line, row, pair in zip(axes, rows, gates, strict=True):
    line[0].imshow(X[row].reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
    line[0].set_ylabel(f"{{{', '.join(map(str, sets[row].nonzero()[0]))}}}")
    for ax, gate, shades in zip(line[1:], pair, ("Blues", "Oranges"), strict=True):
        ax.imshow(gate, cmap=shades, vmin=0, vmax=1)
    for ax in line:
        ax.set(xticks=[], yticks=[])
axes[0, 0].set_title("rows, with their sets", fontsize=10)
for column, k, colour in zip((1, 2), CLASSES, ("#0072B2", "#D55E00"), strict=True):
    axes[0, column].set_title(f"what speaks for {k}", fontsize=10, color=colour)
    for ax in axes[:, column]:
        for spine in ax.spines.values():
            spine.set(color=colour, linewidth=2.5)
for column, text in ((1, "pulled together"), (2, "and these")):
    axes[2, column].set_xlabel(text)
plt.show()
