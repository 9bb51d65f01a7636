"""
How do images get into a Pipeline?
==================================

Labels are ambiguous, and the rows are images. A classifier of candidate sets wants
vectors, so that something has to turn the one into the other: a step in front of it.
Then cross-validation, searches and saving are those of scikit-learn.
"""

# %%
# Images with candidate sets
# --------------------------
# Pictures of digits, 8 by 8 pixels in 256 shades, each with the classes that it may
# belong to.

import time

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sklabeldiff import DDMPClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.features import SimCLRFeatures
from sklabeldiff.model_selection import CandidateStratifiedKFold

digits = load_digits()
images = np.repeat((digits.images * 255 / 16).astype(np.uint8)[..., None], 3, axis=3)
train, test = train_test_split(np.arange(len(images)), test_size=0.3, random_state=0)
y = digits.target
sets = make_candidate_sets(
    y[train], kind="instance", rate=0.5, X=digits.data[train], random_state=0
)
print(images.shape, images.dtype)

# %%
# Three first steps
# -----------------
# The pixels themselves; a small network trained on these very images without any label;
# and, where a network may be downloaded, CLIP::
#
#     Pipeline([("enc", CLIPFeatures()), ("clf", DDMPClassifier())])
#
# which is not run here, since these pages are built without a connection. It takes
# arrays, file names and PIL images, and encodes each image once (``cache_dir``).

pixels = FunctionTransformer(lambda X: X[..., 0].reshape(len(X), -1))
encoders = {
    "pixels": pixels,
    "SimCLRFeatures": SimCLRFeatures(
        image_size=8, max_epochs=4, flip=False, color_jitter=0.0, random_state=0
    ),
}
pipelines = {
    name: Pipeline([("enc", encoder), ("clf", DDMPClassifier(random_state=0))])
    for name, encoder in encoders.items()
}
for name, pipeline in pipelines.items():
    began = time.perf_counter()
    pipeline.fit(images[train], sets)
    accuracy = pipeline.score(images[test], y[test])
    print(
        f"{name:16s} {accuracy:.3f} on new images, {time.perf_counter() - began:.0f} s"
    )

# %%
# Cross-validation knows no true label
# ------------------------------------
# The splitter keeps the candidates of the folds alike, and the score is the share of
# the answers that lie in the held-out sets.

folds = CandidateStratifiedKFold(3, shuffle=True, random_state=0)
covering = cross_val_score(pipelines["pixels"], images[train], sets, cv=folds)
print(f"covering rate {covering.mean():.3f} ± {covering.std():.3f}")

# %%
# What the pipeline says
# ----------------------
# New images with the two most probable classes; wrong answers are red.

proba = pipelines["pixels"].predict_proba(images[test])
unsure = np.argsort(proba.max(axis=1))[:12]
figure, axes = plt.subplots(2, 6, figsize=(9, 3.6), layout="constrained")
for ax, i in zip(axes.ravel(), unsure, strict=True):
    ax.imshow(images[test[i]], interpolation="nearest")
    first, second = np.argsort(-proba[i])[:2]
    ax.set_title(
        f"{first} ({proba[i, first]:.2f}) or {second}",
        color="black" if first == y[test[i]] else "tab:red",
        fontsize=9,
    )
    ax.axis("off")
figure.suptitle("The twelve least sure answers")
plt.show()

# %%
# On pictures as small as these a network learns nothing that the pixels do not say. On
# photographs an encoder that has seen millions of them is worth far more than either
# step used here: see :doc:`/features`. A network trained on your own images makes sense
# where they are like nothing on the web, and there are thousands of them.
