"""The picture of step 3 of the ten-minute start, from the same rows."""

from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklabeldiff import DDMPClassifier
from sklabeldiff.datasets import make_candidate_sets
from sklabeldiff.plotting import BeliefDisplay

X, y = load_digits(return_X_y=True)
X, _, y, _ = train_test_split(X, y, test_size=0.5, random_state=0)
Y = make_candidate_sets(y, kind="instance", rate=0.5, X=X, random_state=0)
clf = DDMPClassifier(random_state=0).fit(X, Y)
BeliefDisplay.from_estimator(clf, true_labels=y, n_rows=10)
plt.show()
