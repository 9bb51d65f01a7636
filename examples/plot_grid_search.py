"""
Can a grid search do without clean labels?
==========================================

To choose between settings one needs a score, and accuracy needs true labels. With
candidate sets there are none. But a held-out set is evidence too: an answer outside of
it is wrong for sure. Is that enough to choose well?
"""

# %%
# The search
# ----------
# Nothing special: ``GridSearchCV`` calls ``score``, which for candidate sets is the
# covering rate, the share of the answers that lie in their sets. The splitter keeps the
# folds alike; scikit-learn's own default does not shuffle.

import numpy as np
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklabeldiff.baselines import CandidateWeightedClassifier, PLKNNClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.model_selection import CandidateStratifiedKFold

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0)
sets = make_candidate_sets(y, kind="instance", rate=0.6, X=X, random_state=0)

pipeline = Pipeline([("scale", StandardScaler()), ("clf", PLKNNClassifier())])
logistic = CandidateWeightedClassifier(LogisticRegression(max_iter=500))
grid = [
    {
        "scale": [StandardScaler(), "passthrough"],
        "clf": [PLKNNClassifier()],
        "clf__n_neighbors": [1, 3, 5, 10, 20, 50, 150, 400],
    },
    {"clf": [logistic], "clf__estimator__C": [1e-4, 1e-3, 1e-2, 1]},
]
folds = CandidateStratifiedKFold(5, shuffle=True, random_state=0)
search = GridSearchCV(pipeline, grid, cv=folds).fit(X, sets)
print(search.best_params_)

# %%
# Was it a good choice?
# ---------------------
# Each setting is fitted to all training rows and asked about digits whose truth is
# known.

settings = search.cv_results_["params"]
covering = search.cv_results_["mean_test_score"]
accuracy = np.array(
    [
        (pipeline.set_params(**p).fit(X, sets).predict(X_test) == y_test).mean()
        for p in settings
    ]
)
chosen = search.best_index_
print(f"chosen without a true label: {accuracy[chosen]:.3f}")
print(f"best of all {len(settings)} settings: {accuracy.max():.3f}")
print(f"one at random: {accuracy.mean():.3f} on average")

# %%
# The covering rate is not the accuracy: a wrong answer may lie in the set by luck. But
# it puts the settings in nearly the same order, and that is all a search needs.

figure, ax = plt.subplots(figsize=(5.4, 4), layout="constrained")
neighbours = np.array(["clf__n_neighbors" in p for p in settings])
for name, rows, marker in [
    ("PL-kNN", neighbours, "o"),
    ("logistic regression", ~neighbours, "s"),
]:
    ax.plot(covering[rows], accuracy[rows], marker, alpha=0.8, label=name)
ax.plot(
    covering[chosen],
    accuracy[chosen],
    "o",
    ms=16,
    mfc="none",
    color="k",
    label="chosen",
)
ax.set(
    xlabel="covering rate, cross-validated on sets", ylabel="accuracy on true labels"
)
ax.legend()
plt.show()

# %%
# On your own data: where sets are large almost any answer is covered, and settings can
# no longer be told apart. ``scoring=approximated_accuracy_scorer`` also asks how sure
# the model is among the candidates. A hundred clean rows, if you can get them, say
# more: :doc:`/scikit_learn` shows how they travel through a search.
