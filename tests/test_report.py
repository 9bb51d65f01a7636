"""`label_report`: what the page holds. What it does in a browser is tested beside."""

import base64
import io
import json
import os
import re
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.sparse import csr_matrix
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from sklabeldiff import DTMClassifier
from sklabeldiff._issues import given_labels
from sklabeldiff._report import details, page
from sklabeldiff._report.beliefs import neighbours_of
from sklabeldiff._report.overview import calibration, class_quality, confusions, summary
from sklabeldiff._report.rows import (
    SCALE,
    Judged,
    display_names,
    label_cells,
    row_columns,
)
from sklabeldiff.baselines import PLKNNClassifier
from sklabeldiff.datasets import make_candidate_sets, make_noisy_labels
from sklabeldiff.report import label_issues, label_report

FOLDS = KFold(3, shuffle=True, random_state=0)
NAMES = np.array(["setosa", "versicolor", "virginica"])


@pytest.fixture(scope="module")
def iris():
    """Features, labels of which every tenth is wrong, true labels; as strings."""
    X, y = load_iris(return_X_y=True)
    given = y.copy()
    given[::10] = (given[::10] + 1) % 3
    return X, NAMES[given], NAMES[y]


@pytest.fixture(scope="module")
def sets():
    """Candidate sets of iris as a mask; every tenth row may be any class."""
    _, y = load_iris(return_X_y=True)
    Y = make_candidate_sets(y, rate=0.3, random_state=0)
    Y[::10] = True
    return Y


def embedded(text):
    """Data of a page, read as a browser would: up to the end of the element."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script', text)
    return json.loads(found[1])


@pytest.fixture
def report(tmp_path):
    """Write a report and return its data."""

    def write(*args, **options):
        path = label_report(*args, path=tmp_path / "report.html", **options)
        return embedded(path.read_text(encoding="utf-8"))

    return write


def check_against(issues, data):
    """Compare the rows of a page with the frame of `label_issues`."""
    rows, classes = data["rows"], data["classes"]
    assert rows["row"] == issues["row"].tolist()
    assert [classes[j] for j in rows["believed"]] == issues["believed"].tolist()
    for name in ("confidence", "score"):
        shown = np.array(rows[name]) / SCALE
        np.testing.assert_allclose(shown, issues[name], atol=0.5001 / SCALE)
    given = [
        None if i < 0 else frozenset(classes[j] for j in rows["sets"][i])
        for i in rows["given"]
    ]
    expected = [
        frozenset([v]) if isinstance(v, str) else v for v in issues["given"].tolist()
    ]
    assert given == expected


class TestIssues:
    def test_classifier_of_ours_says_what_its_method_says(self, iris):
        X, y, _ = iris
        for model in (PLKNNClassifier(), DTMClassifier(max_epochs=2, random_state=0)):
            model.fit(X, y)
            for cv in (None, 3):
                expected = model.label_issues(X, y, cv=cv)
                found = label_issues(model, X, y, cv=cv)
                pd.testing.assert_frame_equal(found, expected)

    def test_pipeline_is_asked_about_what_its_last_step_sees(self, iris):
        X, y, _ = iris
        pipe = make_pipeline(StandardScaler(), PLKNNClassifier()).fit(X, y)
        expected = pipe[-1].label_issues(pipe[:-1].transform(X), y)
        pd.testing.assert_frame_equal(label_issues(pipe, X, y), expected)

    def test_plain_classifier_ranks_planted_mistakes_first(self):
        X, y = load_iris(return_X_y=True)
        y[[7, 30]] = 2
        found = label_issues(LogisticRegression(max_iter=500), X, y, cv=5)
        assert set(found["row"][:2]) == {7, 30}
        assert (found["believed"][:2] == 0).all()

    def test_what_cannot_be_judged_is_refused(self, iris):
        X, y, _ = iris
        with pytest.raises(NotFittedError, match="or give cv=5"):
            label_issues(PLKNNClassifier(), X, y)
        with pytest.raises(ValueError, match="X has 3 rows, but y has 150"):
            label_issues(PLKNNClassifier(), X[:3], y, cv=3)
        with pytest.raises(TypeError, match="RidgeClassifier has no predict_proba"):
            label_issues(RidgeClassifier(), X, y, cv=3)


class TestRows:
    def test_held_out_rows_are_those_of_label_issues(self, iris, report):
        X, given, _ = iris
        issues = PLKNNClassifier().label_issues(X, given, cv=FOLDS)
        check_against(issues, report(PLKNNClassifier(), X, given, cv=FOLDS))

    def test_rows_of_the_fitted_estimator(self, iris, report):
        X, given, _ = iris
        clf = PLKNNClassifier().fit(X[::2], given[::2])
        issues = clf.label_issues(X[1::2], given[1::2])
        check_against(issues, report(clf, X[1::2], given[1::2]))

    def test_sets_and_unlabelled_rows(self, iris, sets, report):
        clf = PLKNNClassifier(classes=NAMES)
        issues = clf.label_issues(iris[0], sets, cv=FOLDS)
        assert issues["given"].isna().sum() == sets.all(axis=1).sum() > 0
        check_against(issues, report(clf, iris[0], sets, cv=FOLDS))

    def test_forms_of_y_give_the_same_page(self, iris, sets, report):
        clf = PLKNNClassifier(classes=NAMES)
        X = iris[0]
        expected = report(clf, X, sets, cv=3)
        forms = {
            "ints": sets.astype(int),
            "frame": pd.DataFrame(sets, columns=NAMES),
            "lists": [NAMES[row].tolist() for row in sets],
            "none": [None if row.all() else frozenset(NAMES[row]) for row in sets],
            "sparse": csr_matrix(sets.astype(int)),
        }
        for form in forms.values():
            data = report(clf, X, form, cv=3)
            assert {**data, "about": 0} == {**expected, "about": 0}

    def test_missing_label_of_the_estimator_is_obeyed(self, iris, report):
        X, given, _ = iris
        given = np.where(np.arange(150) % 4, given, "?")
        pipeline = make_pipeline(StandardScaler(), PLKNNClassifier(missing_label="?"))
        data = report(pipeline, X, given, cv=3)
        assert data["classes"] == NAMES.tolist()
        assert data["summary"]["unlabelled"] == 38

    def test_beliefs_are_from_the_most_believed_down(self, report):
        X, y = load_digits(return_X_y=True)
        X, y = X[:300], y[:300]
        clf = PLKNNClassifier(n_neighbors=20).fit(X, y)
        data = report(clf, X, y, n_neighbors=0)
        rows, k = data["rows"], data["perRow"]
        assert k == 6
        shown = np.reshape(rows["shown"], (-1, k))
        beliefs = np.reshape(rows["beliefs"], (-1, k)) / SCALE
        P = clf.predict_proba(X)[rows["row"]]
        np.testing.assert_array_equal(shown[:, 0], P.argmax(axis=1))
        assert (np.diff(beliefs) <= 0).all()
        assert all(len(set(row)) == k for row in shown.tolist())
        own = np.take_along_axis(P, shown, axis=1)
        np.testing.assert_allclose(beliefs, own, atol=0.5001 / SCALE)

    def test_most_believed_and_candidates_have_room_first(self):
        P = np.array([[0.01, 0.02, 0.03, 0.04, 0.05, 0.1, 0.2, 0.25, 0.3]])
        mask = np.zeros((1, 9), dtype=bool)
        mask[0, [0, 1]] = True
        data = row_columns(Judged.from_beliefs(mask, P), None, None)
        assert data["shown"] == [8, 7, 6, 5, 1, 0]
        assert data["beliefs"] == [3000, 2500, 2000, 1000, 200, 100]

    def test_believed_is_shown_among_equals(self):
        P = np.full((1, 12), 1 / 12)
        judged = Judged.from_beliefs(np.eye(12, dtype=bool)[[7]], P)
        shown = row_columns(judged, None, None)["shown"]
        assert shown[0] == 0 and 7 in shown

    def test_true_labels_that_are_no_class(self, iris, report):
        X, given, truth = iris
        truth = truth.astype(object)
        truth[3] = "rose"
        data = report(PLKNNClassifier(), X, given, cv=3, true_labels=truth)
        shown = dict(zip(data["rows"]["row"], data["rows"]["truth"], strict=True))
        assert shown[3] == -1
        assert [NAMES[shown[i]] for i in (0, 60, 149)] == truth[[0, 60, 149]].tolist()

    def test_size_does_not_grow_with_the_classes(self):
        sizes = []
        for n_classes in (50, 500):
            rng = np.random.default_rng(0)
            P = rng.dirichlet(np.full(n_classes, 0.05), size=400)
            mask = np.eye(n_classes, dtype=bool)[rng.integers(n_classes, size=400)]
            judged = Judged.from_beliefs(mask, P)
            sizes.append(len(json.dumps(row_columns(judged, None, None))))
            assert len(json.dumps(confusions(judged))) < 20_000
        # Numbers of more digits, and more distinct sets: no factor of ten.
        assert sizes[1] < 1.3 * sizes[0]


class TestNeighbours:
    def test_are_near_in_standardised_columns(self, report):
        # As they are, row 0 is nearest to row 2.
        X = np.array([[0, 0.0], [3, 0.0], [0, 1.0], [100, 1.0]])
        y = ["a", "b", "a", "b"]
        clf = PLKNNClassifier(n_neighbors=1).fit(X, y)
        data = report(clf, X, y, n_neighbors=1)
        near = dict(zip(data["rows"]["row"], data["rows"]["neighbours"], strict=True))
        scaled = (X - X.mean(0)) / X.std(0)
        distances = np.linalg.norm(scaled[:, None] - scaled, axis=2)
        np.fill_diagonal(distances, np.inf)
        assert near == dict(enumerate(distances.argmin(axis=1)))

    def test_of_the_features_that_the_last_step_sees(self, iris, report):
        X, given, _ = iris
        sign = FunctionTransformer(lambda A: np.column_stack([A[:, 0], -A[:, 0]]))
        fitted = make_pipeline(sign, PLKNNClassifier()).fit(X, given)
        expected = neighbours_of(X[:, [0]], 3)
        for cv in (None, 3):
            data = report(fitted, X, given, cv=cv, n_neighbors=3)
            found = np.reshape(data["rows"]["neighbours"], (-1, 3))
            distances = abs(X[data["rows"]["row"], 0][:, None] - X[found, 0])
            best = abs(X[:, [0]] - X[expected, 0])[data["rows"]["row"]]
            np.testing.assert_allclose(distances, best, atol=1e-6)

    def test_agree_where_their_belief_is_among_the_given(self):
        mask = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=bool)
        P = np.array([[0.9, 0.1, 0], [0, 0.2, 0.8], [0.1, 0.9, 0]])
        near = np.array([[1, 2], [0, 2], [0, 1]])
        data = row_columns(Judged.from_beliefs(mask, P), near, None)
        assert dict(zip(data["row"], data["agreeing"], strict=True)) == {
            0: 0,  # a; neighbours believed c and b
            1: 1,  # b; a and b
            2: 1,  # a or b; a and c
        }

    def test_rows_fewer_than_asked_for(self, report):
        X = np.arange(3.0)[:, None]
        clf = PLKNNClassifier(n_neighbors=1).fit(X, ["a", "b", "b"])
        data = report(clf, X, ["a", "b", "b"], n_neighbors=9)
        assert data["nNeighbours"] == 2
        assert len(data["rows"]["neighbours"]) == 6

    def test_none_where_none_are_wanted(self, iris, report):
        X, given, _ = iris
        data = report(PLKNNClassifier(), X, given, cv=3, n_neighbors=0)
        assert data["nNeighbours"] == 0
        assert not {"neighbours", "agreeing"} & set(data["rows"])

    def test_of_sparse_features(self, report):
        texts = ["red apple", "green apple pie", "fast car", "fast red car"] * 5
        y = ["food", "food", "cars", "cars"] * 5
        pipeline = make_pipeline(CountVectorizer(), LogisticRegression())
        data = report(pipeline, texts, y, cv=2, texts=texts, n_neighbors=4)
        found = np.reshape(data["rows"]["neighbours"], (-1, 4)) % 4
        rows = np.array(data["rows"]["row"])
        assert (found == rows[:, None] % 4).all()


class TestBeliefs:
    def test_pipeline_is_judged_like_its_steps_by_hand(self, iris, report):
        X, given, _ = iris
        pipeline = make_pipeline(StandardScaler(), PLKNNClassifier()).fit(X, given)
        Z = StandardScaler().fit_transform(X)
        issues = PLKNNClassifier().fit(Z, given).label_issues(Z, given)
        check_against(issues, report(pipeline, X, given))

    def test_pipeline_is_fitted_in_every_fold(self, iris, report):
        X, given, _ = iris
        seen = []

        class Watching(StandardScaler):
            def fit(self, X, y=None):
                seen.append(len(X))
                return super().fit(X, y)

        report(
            make_pipeline(Watching(), PLKNNClassifier()),
            *(X, given),
            cv=FOLDS,
            n_neighbors=0,
        )
        assert seen == [100, 100, 100]

    @pytest.mark.parametrize("cv", [None, 3])
    def test_dtm_is_asked_given_the_label(self, cv, iris, report):
        X, given, _ = iris
        dtm = DTMClassifier(max_epochs=2, random_state=0).fit(X, given)
        data = report(dtm, X, given, cv=cv)
        check_against(dtm.label_issues(X, given, cv=cv), data)
        if cv is None:
            # That is not what its probabilities alone would say.
            alone = dtm.predict_proba(X)[data["rows"]["row"]].max(axis=1)
            assert abs(np.array(data["rows"]["confidence"]) / SCALE - alone).max() > 0.1

    def test_posterior_of_the_last_step_of_a_pipeline(self, iris, report):
        class Knowing(PLKNNClassifier):
            def _label_posterior(self, X, Y):
                assert abs(X.mean()) < 1, "not what the step before makes of X"
                return np.roll(Y, 1, axis=1).astype(float)

        X, given, _ = iris
        pipeline = make_pipeline(StandardScaler(), Knowing()).fit(X, given)
        for cv in (None, 3):
            data = report(pipeline, X, given, cv=cv)
            assert data["rows"]["score"] == [0] * 150
            assert data["summary"]["suspects"] == 150

    def test_any_classifier_will_do(self, iris, report):
        X, given, truth = iris
        model = LogisticRegression(max_iter=1000)
        data = report(model, X, given, cv=FOLDS, true_labels=truth)
        assert data["summary"]["givenRight"] == 0.9
        assert data["summary"]["believedRight"] > 0.9
        P = model.fit(X, given).predict_proba(X)
        data = report(model, X, given)
        np.testing.assert_allclose(
            np.array(data["rows"]["confidence"]) / SCALE,
            P.max(axis=1)[data["rows"]["row"]],
            atol=0.5001 / SCALE,
        )

    def test_what_is_no_distribution_is_refused(self, iris, report):
        class Broken(LogisticRegression):
            def predict_proba(self, X):
                return 2 * super().predict_proba(X)

        X, given, _ = iris
        with pytest.raises(ValueError, match="no distribution over 3 classes"):
            report(Broken(max_iter=1000).fit(X, given), X, given)

    def test_estimator_is_left_as_it_is(self, iris, report):
        X, given, _ = iris
        pipeline = make_pipeline(StandardScaler(), PLKNNClassifier())
        report(pipeline, X, given, cv=3)
        assert not hasattr(pipeline[0], "mean_") and not hasattr(
            pipeline[1], "classes_"
        )


# Three rows given a, b, a-or-b and one unlabelled; beliefs by hand.
MASK = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 1, 1]], dtype=bool)
P = np.array([[0.2, 0.7, 0.1], [0.1, 0.9, 0], [0.5, 0.1, 0.4], [0, 0.4, 0.6]])
HAND = Judged.from_beliefs(MASK, P)
TRUTH = np.array([1, 1, -1, 2])


class TestOverview:
    def test_summary(self):
        totals = summary(HAND, TRUTH)
        assert totals == {
            "rows": 4,
            "classes": 3,
            "candidates": pytest.approx(4 / 3),
            "unlabelled": 1,
            "suspects": 1,
            "wrong": pytest.approx((0.8 + 0.1 + 0.4) / 3),
            "givenRight": pytest.approx(1 / 3, abs=1e-6),  # the second; -1 is no class
            "believedRight": 0.75,
        }
        assert "givenRight" not in summary(HAND, None)

    def test_confusions(self):
        found = confusions(HAND)
        assert found["classes"] == [0, 1, 2]
        expected = np.array(
            [[0.2 + 0.25, 0.7 + 0.05, 0.1 + 0.2], [0.1 + 0.25, 0.95, 0.2]]
        )
        np.testing.assert_allclose(found["counts"], [*expected, [0, 0, 0]], atol=0.006)
        np.testing.assert_allclose(found["totals"], [1.5, 1.5, 0])
        assert found["pairs"][0] == [0, 1, 0.75]
        assert sum(map(sum, found["counts"])) == pytest.approx(3, abs=0.03)

    def test_confusions_of_many_classes_are_the_worst(self):
        n_classes = 60
        y = np.repeat(np.arange(n_classes), 2)
        beliefs = np.eye(n_classes)[y]
        beliefs[:3] = np.eye(n_classes)[[58, 58, 57]]
        judged = Judged.from_beliefs(np.eye(n_classes, dtype=bool)[y], beliefs)
        found = confusions(judged)
        assert len(found["classes"]) == len(found["counts"]) == 30
        assert {0, 1, 57, 58} <= set(found["classes"])
        assert found["pairs"] == [[0, 58, 2.0], [1, 57, 1.0]]

    def test_calibration_against_the_truth(self):
        found = calibration(HAND, TRUTH)
        assert found["rows"] == [0, 0, 0, 0, 0, 1, 1, 1, 0, 1]
        assert found["holds"] == [None] * 5 + [0, 1, 1, None, 1]
        assert found["confidence"][5:] == [0.5, 0.6, 0.7, None, 0.9]

    def test_calibration_against_the_given(self):
        found = calibration(HAND, None)
        assert not found["againstTruth"]
        assert found["rows"] == [0, 0, 0, 0, 0, 1, 0, 1, 0, 1]  # not the unlabelled
        assert found["holds"][5:] == [1, None, 0, None, 1]

    def test_confidence_of_one_is_in_the_last_bin(self):
        judged = Judged.from_beliefs(np.eye(2, dtype=bool), np.eye(2))
        assert calibration(judged, None)["rows"] == [0] * 9 + [2]

    def test_class_quality(self):
        assert class_quality(HAND) == {
            "given": [2, 2, 0],
            "believed": [1, 2, 1],
            "suspects": [1, 0, 0],
            "confidence": [0.5, 0.8, 0.6],
            "kept": [0.5, 0.5, None],
        }


class TestNames:
    def test_labels_are_shown_unless_they_have_names(self):
        classes = np.array([-1, 1])
        assert display_names(None, classes) == ["-1", "1"]
        assert display_names(["no", "yes"], classes) == ["no", "yes"]
        assert display_names({1: "yes", -1: "no"}, classes) == ["no", "yes"]

    def test_names_that_look_alike_are_told_apart(self):
        names = display_names([1, "1", True, None], np.array(list("abcd")))
        assert names == ["1 (class 0: 'a')", "1 (class 1: 'b')", "True", "None"]

    @pytest.mark.parametrize(
        ("names", "error", "message"),
        [
            (["a"], ValueError, "class_names has 1 names, but there are 2 classes"),
            ({1: "yes"}, ValueError, "class_names has no name for the class -1"),
            ("ab", TypeError, "class_names is the text 'ab'"),
        ],
    )
    def test_names_that_do_not_fit(self, names, error, message):
        with pytest.raises(error, match=message):
            display_names(names, np.array([-1, 1]))

    @pytest.mark.parametrize(
        ("labels", "cells"),
        [
            ([-1, 1], ["-1", "1"]),
            ([0.5, 2.0], ["0.5", "2.0"]),
            ([False, True], ["False", "True"]),
            (["cat", "Ärger, groß"], ["cat", "Ärger, groß"]),
        ],
    )
    def test_labels_that_nothing_misreads_are_plain(self, labels, cells):
        found = label_cells(np.array(labels), np.eye(2, dtype=bool))
        assert found == {"plain": True, "cells": cells}

    @pytest.mark.parametrize(
        "label",
        ["=1+1", "+1", "-1", "@a", "\tx", "007", "NA", "None", "true", " a", "", "[x]"],
    )
    def test_text_that_could_be_misread_is_json(self, label):
        found = label_cells(np.array(["cat", label]), np.eye(2, dtype=bool))
        assert not found["plain"]
        assert [json.loads(cell) for cell in found["cells"]] == ["cat", label]

    def test_sets_are_json_and_unlabelled_rows_are_not(self):
        classes = np.array(["a", "b", "c"])
        one = np.array([[1, 0, 0], [1, 1, 1]], dtype=bool)
        assert label_cells(classes, one)["plain"]
        assert not label_cells(classes, MASK)["plain"]


def decoded(source):
    """Pixels of a data URL."""
    head, code = source.split(",")
    assert re.fullmatch("data:image/(png|jpeg);base64", head)
    return Image.open(io.BytesIO(base64.b64decode(code)))


@pytest.fixture(scope="module")
def digits():
    """Pixels as features, and labels of which a fifth is wrong."""
    X, y = load_digits(return_X_y=True)
    return X[:120], make_noisy_labels(X[:120], y[:120], rate=0.2, random_state=0)


class TestContents:
    def test_small_images_keep_their_pixels(self, digits, report):
        X, y = digits
        data = report(PLKNNClassifier(), X, y, cv=3, images=X.reshape(-1, 8, 8))
        for rank in (0, 50):
            image = decoded(data["contents"]["images"][rank])
            expected = np.rint(X[data["rows"]["row"][rank]].reshape(8, 8) / 16 * 255)
            np.testing.assert_array_equal(np.asarray(image), expected)

    def test_only_the_most_suspicious_rows_have_one(self, digits, report):
        X, y = digits
        options = {"images": X.reshape(-1, 8, 8), "max_thumbnails": 7}
        data = report(PLKNNClassifier(), X, y, cv=3, **options)
        assert data["contents"]["n"] == len(data["contents"]["images"]) == 7

    def test_forms_of_images_give_the_same_thumbnails(self, digits, tmp_path):
        pixels = np.random.default_rng(0).integers(0, 256, (3, 9, 7, 3), dtype=np.uint8)
        pil = [Image.fromarray(p) for p in pixels]
        files = [tmp_path / f"{i}.png" for i in range(3)]
        for image, file in zip(pil, files, strict=True):
            image.save(file)
        rows = np.array([2, 0])
        expected = details.image_details(details.read_images(pixels), rows)
        np.testing.assert_array_equal(np.asarray(decoded(expected[0])), pixels[2])
        for form in (list(pixels), pil, files, [str(f) for f in files], pixels / 255):
            assert details.image_details(details.read_images(form), rows) == expected

    def test_large_images_become_small(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 256, (300, 600, 4), dtype=np.uint8)
        (found,) = details.image_details([noise], np.array([0]))
        assert decoded(found).size == (64, 32)
        assert len(found) < 6000

    def test_pictures_are_turned_upright(self, tmp_path):
        exif = Image.Exif()
        exif[0x0112] = 6  # taken with the camera on its side
        Image.new("RGB", (40, 20)).save(tmp_path / "a.jpg", exif=exif)
        (found,) = details.image_details([tmp_path / "a.jpg"], np.array([0]))
        assert decoded(found).size == (20, 40)

    def test_transparent_images_lie_on_white(self):
        (found,) = details.image_details(
            [Image.new("RGBA", (2, 2), (0, 0, 0, 0))], np.array([0])
        )
        np.testing.assert_array_equal(np.asarray(decoded(found)), 255)

    def test_values_without_bounds_do_not_blind(self):
        image = np.array([[[-np.inf, np.nan], [0.5, np.inf]]])[0]
        (found,) = details.image_details([image[..., None]], np.array([0]))
        np.testing.assert_array_equal(np.asarray(decoded(found)), [[0, 0], [128, 255]])

    def test_broken_files_are_shown_as_missing(self, digits, tmp_path, report):
        X, y = digits
        files = [tmp_path / f"{i}.png" for i in range(len(X))]
        for file in files:
            Image.new("L", (8, 8)).save(file)
        files[7].write_bytes(b"no image")
        files[8].unlink()
        data = report(PLKNNClassifier(), X, y, cv=3, images=files)
        found = dict(zip(data["rows"]["row"], data["contents"]["images"], strict=True))
        assert "UnidentifiedImageError" in found[7]["missing"]
        assert "No such file" in found[8]["missing"]
        assert sum(isinstance(source, str) for source in found.values()) == 118
        assert data["contents"]["files"][0] == str(files[data["rows"]["row"][0]])

    def test_image_files_may_be_what_the_pipeline_reads(self, digits, tmp_path, report):
        X, y = digits
        files = [str(tmp_path / f"{i}.png") for i in range(len(X))]
        for file, row in zip(files, X, strict=True):
            Image.fromarray((row * 15).astype(np.uint8).reshape(8, 8)).save(file)

        class Reader(FunctionTransformer):
            def transform(self, X):
                return np.stack([np.asarray(Image.open(f)).ravel() for f in X])

        pipeline = make_pipeline(Reader(), PLKNNClassifier())
        data = report(pipeline, files, y, cv=3, images=files)
        assert len(data["rows"]["neighbours"]) == 120 * 5
        assert data["summary"]["suspects"] < 60

    def test_texts(self, iris, report):
        X, given, _ = iris
        texts = [f"{'long ' * 40}{i}" for i in range(150)]
        texts[3] = None
        data = report(PLKNNClassifier(), X, given, cv=3, texts=texts, max_thumbnails=10)
        rows, contents = data["rows"]["row"], data["contents"]
        assert contents["texts"] == [texts[row] or "" for row in rows[:10]]
        assert contents["starts"] == [(texts[row] or "")[:120] for row in rows]

    def test_features_of_a_frame(self, iris, report):
        X, given, _ = iris
        frame = pd.DataFrame(X[:, :2], columns=["length", "width"])
        data = report(PLKNNClassifier(), frame, given, cv=3)
        features = data["contents"]["features"]
        assert features["names"] == ["length", "width"]
        row = data["rows"]["row"][4]
        assert features["values"][4] == [f"{v:.6g}" for v in X[row, :2]]

    def test_many_features_are_not_shown(self, digits, report):
        data = report(PLKNNClassifier(), *digits, cv=3)
        assert data["contents"]["features"] is None

    def test_pillow_is_asked_for_before_any_work(self, digits, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "PIL.Image", None)
        with pytest.raises(ImportError, match=r'pip install "sklabeldiff\[vision\]"'):
            label_report(
                None_proba(), *digits, cv=3, images=digits[0].reshape(-1, 8, 8)
            )


class None_proba(PLKNNClassifier):
    """Fails if it is asked to learn."""

    def fit(self, X, y):
        raise AssertionError("work was begun before the arguments were checked")


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"images": np.zeros((9, 5, 5))}, ValueError, "images has 9 rows, but y h"),
            ({"texts": ["a"]}, ValueError, "texts has 1 rows, but y has 150"),
            ({"true_labels": ["setosa"]}, ValueError, "true_labels has 1 rows, but"),
            ({"true_labels": ["rose"] * 150}, ValueError, "none of true_labels is a c"),
            ({"true_labels": [None, *"ab"]}, ValueError, "row 0 of true_labels is mis"),
            ({"texts": ["a"], "images": ["b"]}, ValueError, "both images and texts"),
            ({"texts": "a text"}, TypeError, "texts is one text. Give one per row"),
            ({"texts": ["a"] * 149 + [5]}, TypeError, "texts has 5 in row 149"),
            ({"images": np.zeros((150, 4))}, ValueError, "images has the type ndarray"),
            ({"images": "a.png"}, TypeError, "images is one image"),
            ({"n_neighbors": -1}, ValueError, "n_neighbors must be at least 0"),
            ({"n_neighbors": 2.5}, TypeError, "n_neighbors must be an integer"),
            ({"max_thumbnails": -1}, ValueError, "max_thumbnails must be at least 0"),
            ({"class_names": ["a"]}, ValueError, "class_names has 1 names"),
        ],
    )
    def test_before_any_work(self, options, error, message, iris, report):
        with pytest.raises(error, match=message):
            report(None_proba(), *iris[:2], cv=3, **options)

    def test_rows_of_x(self, iris, report):
        with pytest.raises(ValueError, match="X has 90 rows, but y has 150"):
            report(None_proba(), iris[0][:90], iris[1], cv=3)

    def test_folder_that_is_not_there(self, iris, tmp_path):
        with pytest.raises(ValueError, match=r"there is no folder .*nowhere"):
            label_report(
                None_proba(), *iris[:2], cv=3, path=tmp_path / "nowhere" / "a.html"
            )

    def test_path_that_is_a_folder(self, iris, tmp_path):
        with pytest.raises(ValueError, match=r"is the folder .*report\.html"):
            label_report(None_proba(), *iris[:2], cv=3, path=tmp_path)

    @pytest.mark.parametrize("scaled", [False, True])
    def test_not_fitted(self, scaled, iris, report):
        clf = PLKNNClassifier()
        clf = make_pipeline(StandardScaler(), clf) if scaled else clf
        with pytest.raises(NotFittedError, match="Fit it first, or give cv"):
            report(clf, *iris[:2])

    def test_no_probabilities(self, iris, report):
        with pytest.raises(TypeError, match="RidgeClassifier has no predict_proba"):
            report(RidgeClassifier(), *iris[:2], cv=3)

    def test_features_that_are_no_numbers(self, iris, report):
        pipeline = make_pipeline(
            FunctionTransformer(lambda X: np.where(X > 7.5, np.nan, X)), Tolerant()
        )
        with pytest.raises(ValueError, match=r"NaN.*\s.*n_neighbors=0 for a rep"):
            report(pipeline, *iris[:2], cv=3)
        assert report(pipeline, *iris[:2], cv=3, n_neighbors=0)["nNeighbours"] == 0

    def test_label_that_the_estimator_does_not_know(self, iris, report):
        X, given, _ = iris
        clf = PLKNNClassifier().fit(X, given)
        with pytest.raises(ValueError, match="row 1 has the label 'rose'"):
            report(clf, X[:2], ["setosa", "rose"])


class Tolerant(PLKNNClassifier):
    """Takes missing values for 0."""

    def fit(self, X, y):
        return super().fit(np.nan_to_num(X), y)

    def predict_proba(self, X):
        return super().predict_proba(np.nan_to_num(X))

    def _label_posterior(self, X, Y):
        return self.predict_proba(X)


NASTY = "</script><script>window.hit = 1</script><!-- & \"' \u2028 \u05d0\u05d1"


class TestFile:
    def test_nothing_in_the_data_ends_its_element(self, iris, report, tmp_path):
        X, given, _ = iris
        names = [NASTY, "<!--", "&amp;"]
        data = report(
            *(PLKNNClassifier(), X, given),
            cv=3,
            class_names=names,
            texts=[NASTY] * 150,
            title=NASTY,
        )
        assert data["classes"] == names
        assert set(data["contents"]["texts"]) == {NASTY}
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert "window.hit" in text and "<script>window.hit" not in text
        assert text.count("</script") == 2
        assert "<title>&lt;/script&gt;" in text

    def test_places_to_fill_in_the_data_are_left_alone(self, iris, report, tmp_path):
        X, given, _ = iris
        names = ["{{data}}", "{{x}}", "\\1"]
        data = report(
            *(PLKNNClassifier(), X, given),
            cv=3,
            title="{{script}} {{x}}",
            class_names=names,
        )
        assert data["classes"] == names
        assert "<title>{{script}} {{x}}</title>" in (
            tmp_path / "report.html"
        ).read_text(encoding="utf-8")

    def test_policy_names_the_style_and_the_script_by_content(self, iris, tmp_path):
        import hashlib

        path = label_report(
            PLKNNClassifier(), *iris[:2], cv=3, path=tmp_path / "a.html"
        )
        text = path.read_bytes().decode()
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        for element in ("style", "script"):
            inner = re.search(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)[1]
            code = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
            assert f"{element}-src 'sha256-{code}'" in policy

    def test_no_address_is_in_the_page(self, iris, report, tmp_path):
        report(PLKNNClassifier(), *iris[:2], cv=3)
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        addresses = set(re.findall(r"https?://[\w./]*", text))
        assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place

    def test_failure_leaves_the_old_file(self, iris, tmp_path, monkeypatch):
        path = tmp_path / "report.html"
        path.write_text("before")

        def fail(*_):
            raise OSError("the disk is full")

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk is full"):
            label_report(PLKNNClassifier(), *iris[:2], cv=3, path=path)
        assert path.read_text() == "before"
        assert list(tmp_path.iterdir()) == [path]

    def test_reader_never_finds_half_a_file(self, iris, tmp_path, monkeypatch):
        path = tmp_path / "report.html"
        path.write_text("before")
        replace, found = os.replace, []

        def watching(source, target):
            found.append((path.read_text(), os.path.dirname(source)))
            replace(source, target)

        monkeypatch.setattr(os, "replace", watching)
        label_report(PLKNNClassifier(), *iris[:2], cv=3, path=path)
        # Beside the target: between file systems a move is a copy.
        assert found == [("before", str(tmp_path))]
        assert list(tmp_path.iterdir()) == [path]

    def test_lone_surrogates_are_no_obstacle(self, iris, report):
        texts = ["\udcff"] * 150
        data = report(PLKNNClassifier(), *iris[:2], cv=3, texts=texts)
        assert set(data["contents"]["texts"]) == {"?"}

    def test_says_how_it_was_made(self, iris, report):
        data = report(PLKNNClassifier(n_neighbors=7), *iris[:2], cv=3, n_neighbors=2)
        about = dict(data["about"])
        assert about["Estimator"] == "PLKNNClassifier(n_neighbors=7)"
        assert about["Beliefs"].startswith("out of fold")
        assert about["cv"] == "3" and about["n_neighbors"] == "2"
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d", about["Written"])
        assert about["sklabeldiff"]
        fitted = PLKNNClassifier().fit(*iris[:2])
        assert dict(report(fitted, *iris[:2])["about"])["Beliefs"].startswith(
            "of the fi"
        )

    def test_digest_names_labels_and_beliefs(self, iris, report):
        X, given, _ = iris
        first = report(PLKNNClassifier(), X, given, cv=3)["digest"]
        assert report(PLKNNClassifier(), X, given, cv=3, title="b")["digest"] == first
        other = given.copy()
        other[5] = "virginica"
        assert report(PLKNNClassifier(), X, other, cv=3)["digest"] != first

    def test_returns_the_path(self, iris, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path = label_report(PLKNNClassifier(), *iris[:2], cv=3)
        assert str(path) == "report.html" and path.stat().st_size > 10_000

    def test_every_part_of_the_page_is_a_file_that_is_used(self):
        folder = page.files("sklabeldiff._report")
        scripts = {f.name for f in folder.joinpath("js").iterdir()}
        assert scripts == {f"{name}.js" for name in page._SCRIPTS}


def test_given_is_what_label_issues_calls_given():
    frame = given_labels(MASK, np.array(["a", "b", "c"])).tolist()
    rows = row_columns(HAND, None, None)
    spelt = [rows["sets"][i] if i >= 0 else None for i in rows["given"]]
    back = dict(zip(rows["row"], spelt, strict=True))
    assert [back[i] and {"abc"[j] for j in back[i]} for i in range(4)] == frame
