"""The pictures: what they show is compared with numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.manifold import MDS
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklabeldiff import DDMPClassifier, DTMClassifier, plotting
from sklabeldiff.baselines import PLKNNClassifier, PRODENClassifier
from sklabeldiff.datasets import make_candidate_sets, make_noisy_labels
from sklabeldiff.metrics import expected_calibration_error
from sklabeldiff.plotting import (
    BeliefDisplay,
    CooccurrenceDisplay,
    DenoisingPathDisplay,
    EmbeddingDisplay,
    ReliabilityDisplay,
    TrainingCurveDisplay,
    TransitionMatrixDisplay,
)
from sklabeldiff.plotting._style import MAX_NAME, MAX_TICKS, name_texts
from sklabeldiff.report import label_issues

NAMES = np.array(["setosa", "versicolor", "virginica"])


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data():
    X, y = load_iris(return_X_y=True)
    return X, make_candidate_sets(y, rate=0.5, random_state=0), y


@pytest.fixture(scope="module")
def ddmp(data):
    X, Y, _ = data
    model = DDMPClassifier(max_epochs=20, classes=NAMES, random_state=0)
    return make_pipeline(StandardScaler(), model).fit(X, pd.DataFrame(Y, columns=NAMES))


@pytest.fixture(scope="module")
def dtm(data):
    X, _, y = data
    noisy = make_noisy_labels(X, y, kind="parts", rate=0.2, random_state=0)
    model = DTMClassifier(n_groups=2, max_epochs=3, random_state=0)
    return make_pipeline(StandardScaler(), model).fit(X, NAMES[noisy])


def texts(labels):
    return [label.get_text() for label in labels]


class TestBeliefs:
    SETS = np.array([[1, 1, 0], [0, 1, 1], [1, 1, 1], [1, 0, 0]], dtype=bool)
    AFTER = np.array([[0.9, 0.1, 0], [0, 0.5, 0.5], [0, 0, 1.0], [1, 0, 0]])

    def test_rows_whose_beliefs_changed_most_come_first(self):
        display = BeliefDisplay.from_predictions(self.SETS, self.AFTER, n_rows=3)
        # Changes from even beliefs: .8, 0, 4/3, 0.
        assert display.rows.tolist() == [2, 0, 1]
        assert_allclose(display.before, [[1 / 3] * 3, [0.5, 0.5, 0], [0, 0.5, 0.5]])
        assert_array_equal(display.after, self.AFTER[[2, 0, 1]])
        assert texts(display.axes_[0].get_yticklabels()) == ["2", "0", "1"]

    def test_squares_are_the_beliefs_and_candidates_are_tinted(self):
        display = BeliefDisplay.from_predictions(self.SETS, self.AFTER, rows=[0, 1])
        drawn = display.axes_[1].images[0].get_array()
        assert_allclose(drawn, [[0.9, 0.1, 0], [0, 0.5, 0.5]])
        hopeless = BeliefDisplay.from_predictions(self.SETS, self.AFTER, rows=[2])
        drawn = hopeless.axes_[1].images[0].get_array()
        assert (drawn[0, :2] > 0).all() and drawn[0, 2] == 1

    def test_frames_are_around_candidates_only(self):
        display = BeliefDisplay.from_predictions(self.SETS, self.AFTER, rows=[1])
        frames = display.axes_[0].collections[0].get_segments()
        centres = [frame[:4].mean(axis=0).tolist() for frame in frames]
        assert centres == [[1, 0], [2, 0]]

    def test_rings_mark_the_truth(self):
        display = BeliefDisplay.from_predictions(
            self.SETS, self.AFTER, rows=[1, 3], true_labels=[0, 2, 1, 0]
        )
        for axes in display.axes_:
            assert axes.collections[-1].get_offsets().tolist() == [[2, 0], [0, 1]]

    def test_unknown_truth_is_named(self):
        with pytest.raises(ValueError, match="true_labels is 7 in row 1"):
            BeliefDisplay.from_predictions(
                self.SETS, self.AFTER, true_labels=[0, 7, 0, 0]
            )

    def test_names_of_a_frame_and_of_labels_are_kept(self):
        frame = pd.DataFrame(self.SETS, columns=["b", "a", "c"])
        assert BeliefDisplay.from_predictions(frame, self.AFTER).classes.tolist() == [
            "b",
            "a",
            "c",
        ]
        lists = [["a", "b"], ["b", "c"]]
        display = BeliefDisplay.from_predictions(lists, self.AFTER[:2])
        assert display.classes.tolist() == ["a", "b", "c"]

    def test_wrong_shape_says_which(self):
        with pytest.raises(
            ValueError, match=r"y_proba has shape \(3, 3\); y means \(4"
        ):
            BeliefDisplay.from_predictions(self.SETS, self.AFTER[:3])

    def test_estimator_shows_its_own_beliefs(self, ddmp, data):
        display = BeliefDisplay.from_estimator(ddmp, true_labels=NAMES[data[2]])
        model = ddmp[-1]
        rows = display.rows
        assert_array_equal(display.after, model.label_distribution_[rows].astype(float))
        assert_array_equal(
            display.before, model.initial_label_distribution_[rows].astype(float)
        )
        assert_array_equal(display.candidate_sets, data[1][rows])
        assert texts(display.axes_[1].get_xticklabels()) == NAMES.tolist()

    def test_estimator_without_first_beliefs_starts_even(self, data):
        X, Y, _ = data
        model = PRODENClassifier(max_epochs=2, random_state=0).fit(X, Y)
        display = BeliefDisplay.from_estimator(model, rows=[0])
        assert_allclose(display.before[0], Y[0] / Y[0].sum())

    def test_of_many_classes_only_those_concerned_are_drawn(self):
        Y = np.zeros((2, 100), dtype=bool)
        Y[0, [3, 50]] = Y[1, [50, 99]] = True
        after = np.where(Y, 0.5, 0)
        display = BeliefDisplay.from_predictions(Y, after, true_labels=[3, 7])
        axes = display.axes_[0]
        assert texts(axes.get_xticklabels()) == ["3", "7", "50", "99"]
        assert axes.images[0].get_array().shape == (2, 4)
        assert axes.collections[-1].get_offsets()[:, 0].tolist() == [0, 1]


class TestDenoisingPath:
    def test_path_ends_in_the_prediction_and_starts_at_the_prior_mean(self, ddmp, data):
        model, Z = ddmp[-1], ddmp[:-1].transform(data[0][::10])
        steps, states = model.denoising_path(Z)
        assert steps[0] == 100 and steps[-1] == 0 and (np.diff(steps) < 0).all()
        assert states.shape == (15, 11, 3) and states.dtype == np.float32
        nearest = np.abs(states[:, -1] - 1).argmin(axis=1)
        assert_array_equal(model.classes_[nearest], model.predict(Z))
        closeness = -((states[:, -1] - 1) ** 2) / 0.1
        expected = np.exp(closeness - closeness.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
        assert_allclose(model.predict_proba(Z), expected, atol=1e-5)
        _, prior_mean = model._model._condition(Z)
        assert_array_equal(states[:, 0], prior_mean)
        assert np.abs(np.diff(states, axis=1)).max(axis=(0, 2)).min() > 0  # it moves

    def test_row_has_the_same_path_in_any_company(self, ddmp, data):
        model, Z = ddmp[-1], ddmp[:-1].transform(data[0])
        _, together = model.denoising_path(Z)
        _, alone = model.denoising_path(Z[[140]])
        assert_array_equal(together[140], alone[0])

    def test_panels_draw_the_states_over_the_steps(self, ddmp, data):
        display = DenoisingPathDisplay.from_estimator(ddmp, data[0][[0, 100]])
        Z = ddmp[:-1].transform(data[0][[0, 100]])
        _, states = ddmp[-1].denoising_path(Z)
        assert_array_equal(display.states, states)
        assert texts(a.title for a in display.axes_) == ddmp[-1].predict(Z).tolist()
        for axes, path in zip(display.axes_, states, strict=True):
            lines = {line.get_label(): line for line in axes.lines}
            for j, name in enumerate(NAMES):
                assert_allclose(lines[name].get_ydata(), path[:, j])
            assert axes.xaxis_inverted()  # noise on the left

    def test_classes_of_no_importance_have_no_name(self):
        path = np.zeros((1, 2, 9))
        path[0, :, :] = np.linspace(0.5, 0, 9)
        path[0, 0, 8] = 2.0  # where it came from
        display = DenoisingPathDisplay.from_predictions([1, 0], path)
        legend = display.axes_[0].get_legend()
        assert texts(legend.get_texts()) == ["0", "1", "2", "8"]
        assert len(display.axes_[0].lines) == 9

    def test_shapes_that_disagree_are_refused(self):
        with pytest.raises(ValueError, match=r"\(n_rows, n_states, n_classes\)"):
            DenoisingPathDisplay.from_predictions([2, 1], np.zeros((1, 3, 2)))

    @pytest.mark.parametrize("states", ["a", [[["a"]]], [[[np.nan, 1]]], [[1], [1, 2]]])
    def test_what_are_no_numbers_is_refused(self, states):
        with pytest.raises(ValueError, match=r"states (must hold num|holds NaN)"):
            DenoisingPathDisplay.from_predictions([1], states)

    def test_estimator_without_a_path_is_refused(self, data):
        X, Y, _ = data
        model = PLKNNClassifier().fit(X, Y)
        with pytest.raises(TypeError, match="PLKNNClassifier has no denoising_path"):
            DenoisingPathDisplay.from_estimator(model, X[:1])


class TestTransitions:
    def test_estimator_shows_all_groups_and_rows(self, dtm, data):
        X = data[0]
        display = TransitionMatrixDisplay.from_estimator(dtm, X[[5]], groups=[1])
        model = dtm[-1]
        assert display.titles == ["all rows", "group 1", "row 0 of X"]
        assert_allclose(display.matrices[0], model.transition_matrix_)
        assert_allclose(display.matrices[1], model.group_transition_matrices_[1])
        of_row = model.transition(dtm[:-1].transform(X[[5]]))[0]
        assert_allclose(display.matrices[2], of_row)
        for image, T in zip(display.images_, display.matrices, strict=True):
            assert_array_equal(image.get_array(), T)
            assert image.get_clim() == (0, 1)
        assert texts(display.axes_[0].get_yticklabels()) == NAMES.tolist()

    def test_values_stand_in_the_squares(self):
        T = [[0.9, 0.1], [0.0, 1.0]]
        display = TransitionMatrixDisplay.from_predictions(T, classes=["a", "b"])
        written = {t.get_position(): t.get_text() for t in display.axes_[0].texts}
        assert written == {(0, 0): ".90", (1, 0): ".10", (1, 1): "1"}

    def test_many_classes_have_no_values_and_fewer_names(self):
        display = TransitionMatrixDisplay.from_predictions(np.eye(200))
        assert not display.axes_[0].texts
        assert len(display.axes_[0].get_xticks()) <= MAX_TICKS

    def test_group_that_is_not_there_is_named(self, dtm):
        with pytest.raises(ValueError, match="groups has 2, but there are 2 groups"):
            TransitionMatrixDisplay.from_estimator(dtm, groups=[2])

    def test_rows_of_a_method_without_their_matrices_are_refused(self, ddmp, data):
        with pytest.raises(TypeError, match="DDMPClassifier has no transition"):
            TransitionMatrixDisplay.from_estimator(ddmp, data[0][:1])

    @pytest.mark.parametrize("shape", [(2,), (2, 3), (4, 2, 3)])
    def test_what_is_not_square_is_refused(self, shape):
        with pytest.raises(ValueError, match="square"):
            TransitionMatrixDisplay.from_predictions(np.zeros(shape))

    def test_each_matrix_has_one_title(self):
        with pytest.raises(ValueError, match="1 titles for 2 matrices"):
            TransitionMatrixDisplay.from_predictions(np.zeros((2, 2, 2)), titles=["a"])


class TestCooccurrence:
    def test_shares_are_counted_among_sets_that_hold_the_class(self):
        # a with b twice, a alone once, b with c once; the unlabelled row counts not.
        sets = [{"a", "b"}, {"a", "b"}, {"a"}, {"b", "c"}, None]
        display = CooccurrenceDisplay.from_predictions(sets)
        expected = [[1, 2 / 3, 0], [2 / 3, 1, 1 / 3], [0, 1, 1]]
        assert_allclose(display.shares, expected)
        assert display.n_sets.tolist() == [3, 3, 1]
        drawn = display.image_.get_array().filled(np.nan)
        assert np.isnan(drawn.diagonal()).all()
        assert_allclose(drawn[1, [0, 2]], [2 / 3, 1 / 3])
        assert display.image_.get_clim() == (0, 1)
        assert texts(display.ax_.get_yticklabels()) == ["a", "b", "c"]

    def test_estimator_shows_the_sets_it_was_fitted_on(self, ddmp, data):
        display = CooccurrenceDisplay.from_estimator(ddmp)
        other = CooccurrenceDisplay.from_predictions(data[1])
        assert_array_equal(display.shares, other.shares)
        assert display.classes.tolist() == NAMES.tolist()

    def test_of_many_classes_those_in_company_are_shown(self):
        Y = np.eye(50, dtype=bool)
        Y[7, 9] = Y[9, 7] = Y[20, 7] = True
        display = CooccurrenceDisplay.from_predictions(Y, max_classes=3)
        assert display.shown_.tolist() == [7, 9, 20]
        assert texts(display.ax_.get_xticklabels()) == ["7", "9", "20"]
        assert "3 of 50 classes" in display.ax_.get_title()
        # Of the two sets with 9 both have 7; of the three with 7, two have 9.
        assert_allclose(display.image_.get_array()[1, 0], 1)
        assert_allclose(display.image_.get_array()[0, 1], 2 / 3)

    def test_single_labels_and_missing_marks_are_understood(self):
        display = CooccurrenceDisplay.from_predictions([0, 1, -1], missing_label=-1)
        assert_array_equal(display.shares, np.eye(2))


class TestTrainingCurve:
    def test_refreshes_are_marked_by_what_became_of_them(self):
        history = [
            {"stage": "learn", "epoch": 2, "loss": 0.5},
            {"stage": "refresh", "epoch": 2, "refreshed": True},
            {"stage": "refresh", "epoch": 3, "refreshed": False},
            {"stage": "decay", "epoch": 4, "loss": 0.25},
        ]
        (axes,) = TrainingCurveDisplay.from_predictions(history).axes_
        curve, *marks = axes.lines
        assert curve.get_xydata().tolist() == [[2, 0.5], [4, 0.25]]
        found = {mark.get_xdata()[0]: mark.get_linestyle() for mark in marks}
        assert found == {2: "-", 3: ":"}
        legend = texts(axes.get_legend().get_texts())
        assert legend == ["beliefs refreshed", "refresh withheld"]

    def test_trainings_that_begin_anew_have_their_own_panels(self, dtm):
        display = TrainingCurveDisplay.from_estimator(dtm)
        titles = texts(axes.title for axes in display.axes_)
        assert titles == ["first network", "generator", "classifier"]
        drawn = [y for axes in display.axes_ for y in axes.lines[0].get_ydata()]
        assert drawn == [log["loss"] for log in dtm[-1].history_]

    def test_ddmp_is_one_training(self, ddmp):
        display = TrainingCurveDisplay.from_estimator(ddmp)
        assert len(display.axes_) == 1

    def test_history_without_a_loss_is_refused(self):
        with pytest.raises(ValueError, match="No entry"):
            TrainingCurveDisplay.from_predictions([{"epoch": 0}])

    @pytest.mark.parametrize(
        ("log", "error", "text"),
        [
            ({"loss": 1.0}, ValueError, r'entry 1 of history has no "epoch"'),
            ({"epoch": "a", "loss": 1.0}, TypeError, r"entry 1 .* has the epoch 'a'"),
            ({"epoch": 1, "loss": np.inf}, TypeError, r"entry 1 .* has the loss inf"),
            ([1, 0.5], TypeError, r"entry 1 of history is \[1, 0.5\], not a dict"),
        ],
    )
    def test_what_is_no_history_is_refused(self, log, error, text):
        with pytest.raises(error, match=text):
            TrainingCurveDisplay.from_predictions([{"epoch": 0, "loss": 1.0}, log])


class TestReliability:
    PROBA = np.array([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.45, 0.55]])
    TRUTH = np.array([0, 1, 1, 0])

    def test_bins_worked_by_hand(self):
        display = ReliabilityDisplay.from_predictions(self.TRUTH, self.PROBA, n_bins=5)
        # (.4, .6]: .55, wrong; (.6, .8]: .65, right; (.8, 1]: two rows, one right.
        assert_allclose(display.confidence, [0.55, 0.65, 0.9])
        assert_allclose(display.accuracy, [0, 1, 0.5])
        assert display.n_rows.tolist() == [1, 1, 2]
        error = expected_calibration_error(self.TRUTH, self.PROBA, n_bins=5)
        assert_allclose(display.calibration_error, error)
        assert_allclose(error, (0.55 + 0.35 + 2 * 0.4) / 4)

    def test_intervals_are_wilsons(self):
        display = ReliabilityDisplay(
            np.array([0.5]), np.array([0.5]), np.array([4]), 0.0
        )
        low, high = display._interval()
        # By the textbook: z = 1.96, n = 4, p = 1/2.
        assert_allclose([low[0], high[0]], [0.15, 0.85], atol=5e-4)

    def test_second_model_joins_the_axes_with_another_colour(self, data):
        X, Y, y = data
        model = PLKNNClassifier().fit(X, Y)
        first = ReliabilityDisplay.from_estimator(model, X, y)
        second = ReliabilityDisplay.from_predictions(
            y, model.predict_proba(X), name="again", ax=first.ax_
        )
        assert second.ax_ is first.ax_
        assert_array_equal(first.accuracy, second.accuracy)
        legend = texts(first.ax_.get_legend().get_texts())
        assert [text.split(",")[0] for text in legend] == [
            *("as sure as right", "PLKNNClassifier", "again")
        ]
        colours = {c.lines[0].get_color() for c in first.ax_.containers}
        assert len(colours) == 2

    def test_labels_are_found_among_classes(self, ddmp, data):
        X, _, y = data
        display = ReliabilityDisplay.from_estimator(ddmp, X, NAMES[y])
        right = (ddmp.predict(X) == NAMES[y]).mean()
        assert_allclose((display.accuracy * display.n_rows).sum() / len(y), right)


class TestEmbedding:
    POINTS = np.arange(12.0).reshape(6, 2)

    def test_suspects_are_rows_below_one_half_the_worst_first(self):
        score = [0.9, 0.4, 0.1, 0.5, 0.3, 1.0]
        display = EmbeddingDisplay.from_predictions(
            self.POINTS, list("aabbab"), score, n_suspects=2
        )
        assert display.suspects.tolist() == [2, 4]
        a, b, rings = display.ax_.collections
        assert_array_equal(a.get_offsets(), self.POINTS[[0, 1, 4]])
        assert_array_equal(b.get_offsets(), self.POINTS[[2, 3, 5]])
        assert_array_equal(rings.get_offsets(), self.POINTS[[2, 4]])
        assert texts(display.ax_.texts) == ["2", "4"]
        legend = texts(display.ax_.get_legend().get_texts())
        assert legend == ["a", "b", "suspect"]

    def test_planted_mistakes_are_ringed(self, data):
        X, _, y = data
        wrong = NAMES[y]
        wrong[[7, 30]] = "virginica"
        model = make_pipeline(StandardScaler(), PLKNNClassifier()).fit(X, wrong)
        for cv in (None, 5):
            display = EmbeddingDisplay.from_estimator(model, X, wrong, cv=cv)
            issues = label_issues(model, X, wrong, cv=cv)
            doubted = issues.sort_values(["score", "row"])["row"][:2]
            assert_array_equal(display.suspects[:2], doubted)
            assert {7, 30} <= set(display.suspects[:4].tolist())
        # The map is of the features that the classifier sees: centred.
        assert_allclose(display.points.mean(axis=0), 0, atol=1e-6)

    def test_map_is_made_by_what_is_given(self, data):
        X, _, y = data
        model = PLKNNClassifier().fit(X, y)
        display = EmbeddingDisplay.from_estimator(model, X, y, embedding=X[:, 2:])
        assert_array_equal(display.points, X[:, 2:])

        class Swap(MDS):
            def fit_transform(self, Z):
                return Z[:, ::-1]

        display = EmbeddingDisplay.from_estimator(model, X, y, embedding=Swap())
        assert_array_equal(display.points, X[:, [3, 2]])

    def test_small_classes_of_many_are_grey_together(self):
        believed = np.r_[np.arange(17), np.arange(3, 17)]
        points = np.zeros((31, 2))
        display = EmbeddingDisplay.from_predictions(points, believed, np.ones(31))
        legend = texts(display.ax_.get_legend().get_texts())
        assert legend == ["3 others", *map(str, range(3, 17)), "suspect"]
        grey, *others, _ = display.ax_.collections
        assert len(grey.get_offsets()) == 3
        looks = {
            (*c.get_facecolor()[0][:3], c.get_paths()[0].vertices.tobytes())
            for c in others
        }
        assert len(looks) == 14  # no two classes look alike

    def test_shapes_that_disagree_are_refused(self):
        with pytest.raises(ValueError, match=r"\(n, 2\), \(n,\) and \(n,\)"):
            EmbeddingDisplay.from_predictions(self.POINTS, list("aab"), [1, 1, 1])


class TestStyle:
    def test_names_are_short_and_never_mathematics(self):
        names = name_texts(["$10$", "_hidden", "x" * 50, "two\nlines", 3])
        assert names[0] == r"\$10\$"
        assert names[1] == " _hidden"
        assert len(names[2]) == MAX_NAME and names[2].endswith("…")
        assert names[3:] == ["two lines", "3"]

    def test_dollars_and_underscores_are_drawn(self):
        names = ["$a^$", "_b"]
        points, score = np.zeros((4, 2)), np.ones(4)
        display = EmbeddingDisplay.from_predictions(
            points, np.repeat(names, 2), score, classes=names
        )
        display.figure_.canvas.draw()  # mathematics would not parse
        legend = texts(display.ax_.get_legend().get_texts())
        assert legend == [r"\$a^\$", " _b", "suspect"]

    @pytest.mark.parametrize("name", plotting.__all__)
    def test_displays_follow_the_protocol(self, name):
        display = getattr(plotting, name)
        for method in ("from_estimator", "from_predictions", "plot"):
            assert callable(getattr(display, method))

    def test_given_axes_are_drawn_on(self):
        figure, axes = plt.subplots(1, 2)
        display = TransitionMatrixDisplay.from_predictions(np.zeros((2, 3, 3)), ax=axes)
        assert display.figure_ is figure
        assert all(a is b for a, b in zip(display.axes_, axes, strict=True))
        assert plt.get_fignums() == [figure.number]

    @pytest.mark.parametrize("n", [1, 3])
    def test_wrong_number_of_axes_is_refused(self, n):
        _, ax = plt.subplots(1, n)
        with pytest.raises(ValueError, match=f"ax has {n} axes, but 2 panels"):
            TransitionMatrixDisplay.from_predictions(np.zeros((2, 3, 3)), ax=ax)

    def test_unfitted_estimator_is_refused(self):
        with pytest.raises(NotFittedError):
            TrainingCurveDisplay.from_estimator(DDMPClassifier())
