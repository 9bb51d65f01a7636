"""
How does a diffusion make up its mind?
======================================

DDMP treats a label as something to be generated: it begins with a blurred guess and
takes out the blur, step by step, guided by the features. That can be watched.
"""

# %%
# Train on ambiguous digits
# -------------------------

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklabeldiff import DDMPClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.plotting import DenoisingPathDisplay, TrainingCurveDisplay

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
sets = make_candidate_sets(y, kind="instance", rate=0.5, X=X, random_state=0)
model = DDMPClassifier(random_state=0).fit(X, sets)

# %%
# The training
# ------------
# Half of the time it learns the beliefs that neighbours and kernel smoothers gave. Then
# these are refreshed by what the network itself believes, only in rows where it is
# sure, and only while both agree. Each refresh moves the target: hence the step.

TrainingCurveDisplay.from_estimator(model)
plt.show()

# %%
# The paths of six new digits
# ---------------------------
# On the left the prior mean, which is what the kernel smoothers say of the row; on the
# right the answer. Of the first three it is surest. The other three are those whose
# path moves most: the smoothers are undecided, and the network has the last word.

_, states = model.denoising_path(X_test)
moved = np.abs(states[:, -1] - states[:, 0]).sum(axis=1)
sure = model.predict_proba(X_test).max(axis=1)
rows = np.r_[np.argsort(-sure)[:3], np.argsort(-moved)[:3]]
titles = [f"row {i}, a {y_test[i]}" for i in rows]

figure, axes = plt.subplots(
    2, 6, figsize=(13, 4.6), height_ratios=(1, 3), layout="constrained"
)
for ax, i in zip(axes[0], rows, strict=True):
    ax.imshow(X_test[i].reshape(8, 8), cmap="gray_r")
    ax.axis("off")
DenoisingPathDisplay.from_estimator(model, X_test[rows], titles=titles, ax=axes[1])
plt.show()

# %%
# Most of the work is done where the path begins, and the diffusion corrects it:
# :doc:`/benchmarks/ablation` measures how much each part contributes. The chain has ten
# steps by default (``n_sampling_steps``). No noise is added on the way, so that a row
# always gets the same answer.
