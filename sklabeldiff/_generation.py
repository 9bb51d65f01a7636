"""What a generative classifier does besides classifying: sample, condense, score."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.utils.validation import check_is_fitted

from sklabeldiff._parameters import check_number, check_option, checked_random_state

# EDM takes 18 for small images. Vectors are cheap, and after 18 steps a Gaussian still
# has 11 to 19 % too much variance; after 32 it is 3 to 5 %.
N_STEPS = 32
DRAWN_PER_KEPT = 4  # of condense(select="confident")


class GenerationMixin:
    """Sampling from `DMISClassifier`, whose fitted attributes it reads."""

    def sample(
        self: Any,
        y: Any,
        n: int = 1,
        *,
        n_steps: int = N_STEPS,
        random_state: Any = None,
    ) -> NDArray[np.float64]:
        """Draw new rows of given classes.

        Parameters
        ----------
        y : label, or array-like of shape (n_labels,)
            Classes to draw from, as in ``classes_``.
        n : int, default=1
            Rows for each entry of `y`.
        n_steps : int, default=32
            Steps of the sampler (EDM's deterministic Heun); the network is called
            ``2 * n_steps - 1`` times.
        random_state : int, RandomState instance or None, default=None
            Draws the noise that rows start from. None stands for the seed of the fit:
            two calls then give the same rows.

        Returns
        -------
        X : ndarray of shape (n_labels * n, n_features), float64
            Rows in the unit of the training data, those of one entry of `y` together;
            with `image_shape`, of shape ``(n_labels * n, *image_shape)``. Whatever was
            whole numbers is not rounded.

        Raises
        ------
        ValueError
            If `y` is empty or has a label that is not in ``classes_``, or that was
            never a candidate.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklabeldiff import DMISClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = DMISClassifier(random_state=0).fit(X, y)
        >>> clf.sample([0, 2], 5).shape
        (10, 4)
        """
        check_is_fitted(self)
        check_number("n", n, 1, integer=True)
        check_number("n_steps", n_steps, 1, integer=True)
        labels = np.repeat(self._class_numbers(y), n)
        seed = self.seed_
        if random_state is not None:
            seed = int(checked_random_state(random_state).randint(2**31 - 1))
        x = self._model.sample(labels, n_steps, seed).cpu().numpy()
        X: NDArray[np.float64] = self._model.scaler.inverse(x)
        shape = self._as_in_fit("image_shape")
        return X if shape is None else X.reshape(-1, *shape)

    def condense(
        self: Any,
        n_per_class: int,
        *,
        select: str = "random",
        n_steps: int = N_STEPS,
        random_state: Any = None,
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Make a small labelled data set that any classifier can learn from.

        Parameters
        ----------
        n_per_class : int
            Rows for each class.
        select : {"random", "confident"}, default="random"
            "random" keeps what is drawn, as the paper has it. "confident" draws four
            times as much and keeps the rows that the model itself is surest of.
        n_steps : int, default=32
            As for `sample`.
        random_state : int, RandomState instance or None, default=None
            As for `sample`.

        Returns
        -------
        X : ndarray of shape (n_classes * n_per_class, n_features), float64
            Drawn rows, class by class; flat, even where `image_shape` is given.
        y : ndarray of shape (n_classes * n_per_class,)
            Their labels, values of ``classes_``.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklabeldiff import DMISClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = DMISClassifier(random_state=0).fit(X, y)
        >>> small = LogisticRegression().fit(*clf.condense(10))
        >>> bool(small.score(X, y) > 0.9)
        True
        """
        check_is_fitted(self)
        check_option("select", select, ("random", "confident"))
        check_number("n_per_class", n_per_class, 1, integer=True)
        drawn = n_per_class * (DRAWN_PER_KEPT if select == "confident" else 1)
        possible = np.flatnonzero(self.candidate_sets_.any(axis=0))
        X = self.sample(
            self.classes_[possible], drawn, n_steps=n_steps, random_state=random_state
        ).reshape(len(possible) * drawn, -1)
        j = np.repeat(possible, drawn)
        if select == "confident":
            log_f = self._model.log_posterior(self._model.scaled(X)).cpu().numpy()
            sure = log_f[np.arange(len(X)), j].reshape(-1, drawn)
            best = np.argsort(-sure, axis=1, kind="stable")[:, :n_per_class]
            kept = (np.arange(len(possible))[:, None] * drawn + np.sort(best)).ravel()
            X, j = X[kept], j[kept]
        return X, self.classes_[j]

    def score_samples(
        self: Any,
        X: ArrayLike,
    ) -> NDArray[np.float64]:
        """How likely rows are under the model: low for outliers.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,), float64
            Bound on the log-likelihood, up to a constant: integrated at the few noise
            levels of prediction. Good for ranking rows, not as a density.
        """
        rows = self._checked(X)
        ell = self._model.log_likelihood(self._model.scaled(rows), "elbo")
        joint = ell.double().cpu().numpy() + np.log(self.class_prior_)
        joint = joint[:, self.candidate_sets_.any(axis=0)]
        scores: NDArray[np.float64] = logsumexp(joint, axis=1)
        return scores

    def _class_numbers(
        self: Any,
        y: Any,
    ) -> NDArray[np.int64]:
        """Positions in ``classes_`` of labels, refusing those that cannot be drawn."""
        # Not as an array of the classes' type, which would cut and round labels.
        labels = y.tolist() if hasattr(y, "tolist") else y
        labels = list(labels) if isinstance(labels, list | tuple) else [labels]
        position = {label: j for j, label in enumerate(self.classes_.tolist())}
        possible = self.candidate_sets_.any(axis=0)
        if not labels:
            raise ValueError("y is empty: name at least one class to draw rows of.")
        numbers = []
        for label in labels:
            j = position.get(label) if isinstance(label, Hashable) else None
            if j is None or not possible[j]:
                why = "is no class" if j is None else "was never a candidate"
                known = self.classes_[possible].tolist()
                raise ValueError(f"{label!r} {why}. Rows can be drawn of {known}.")
            numbers.append(j)
        return np.array(numbers, dtype=np.int64)
