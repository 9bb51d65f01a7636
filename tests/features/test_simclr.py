"""SimCLRFeatures: its views, its networks, and the transformer, on tiny images."""

import math
import pickle
import sys

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklabeldiff._arrays import state_arrays
from sklabeldiff._backbones import NETWORKS, load_encoder, random_encoder
from sklabeldiff._callbacks import HAVE_CALLBACKS
from sklabeldiff._image_views import RandomViews, normalize
from sklabeldiff.core import contrastive
from sklabeldiff.core.training import Trainer
from sklabeldiff.features import SimCLRFeatures

SIDE = 8
QUICK = {
    "image_size": SIDE,
    "batch_size": 8,
    "max_epochs": 2,
    "device": "cpu",
    "random_state": 0,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Run torch on one thread: for images this small, more only get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pixels():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (24, 12, 10, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def fitted(pixels):
    return SimCLRFeatures(**QUICK).fit(pixels)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def assert_same_weights(a, b):
    assert a.weights_.keys() == b.weights_.keys()
    for name, array in a.weights_.items():
        np.testing.assert_array_equal(array, b.weights_[name], err_msg=name)


@pytest.fixture
def untouched():
    """The global generators are afterwards as they were before."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


# --- views --------------------------------------------------------------------------


def still(**changes):
    """Views that change nothing, apart from `changes`."""
    return RandomViews(
        **({"crop_scale": (1, 1), "flip": False, "color_jitter": 0} | changes)
    )


@pytest.fixture(scope="module")
def ramps():
    """500 times one image: red grows to the right, green downwards; 100 pixels wide."""
    ramp = torch.arange(100, dtype=torch.uint8).expand(100, 100)
    image = torch.stack([ramp, ramp.T, torch.full_like(ramp, 50)])
    return image.expand(500, -1, -1, -1)


class TestViews:
    def test_whole_image_unchanged_is_the_image(self, ramps):
        views = still()(ramps[:5], generator())
        torch.testing.assert_close(views, normalize(ramps[:5] / 255))

    def test_grey_images_come_out_with_three_equal_channels(self, ramps):
        grey = ramps[:5, :1]
        views = still(color_jitter=1.0)(grey, generator())
        assert views.shape == (5, 3, 100, 100)
        assert torch.equal(views[:, 0], views[:, 1])
        assert torch.equal(views[:, 0], views[:, 2])

    def test_crops_show_the_share_of_the_area_asked_for(self, ramps):
        views = still(crop_scale=(0.3, 0.8))(ramps, generator())
        # From the centre of the first pixel to that of the last, of 100, in steps.
        span = (views.amax((2, 3)) - views.amin((2, 3)))[:, :2] * 255 / 4  # (500, 2)
        sides = span / 99
        area = sides.prod(dim=1)
        assert area.min() > 0.29 and area.max() < 0.81
        assert area.min() < 0.32 and area.max() > 0.77  # all of the range
        ratio = sides[:, 0] / sides[:, 1]
        assert ratio.max() < 1.37 and ratio.min() > 1 / 1.37
        assert ratio.max() > 1.2 and ratio.min() < 1 / 1.2

    def test_crops_lie_anywhere_inside_the_image(self, ramps):
        views = still(crop_scale=(0.25, 0.25))(ramps, generator())
        centres = (views.mean((2, 3))[:, :2] / 4 + 0.5) * 255 / 99  # (500, 2)
        sides = (views.amax((2, 3)) - views.amin((2, 3)))[:, :2] / 4 * 255 / 99
        assert (centres - sides / 2).min() < 0.03
        assert (centres + sides / 2).max() > 0.97
        assert (centres.mean(0) - 0.5).abs().max() < 0.03

    @pytest.mark.parametrize(("flip", "share"), [(True, 0.5), (False, 0)])
    def test_half_of_the_views_are_mirrored_if_asked_for(self, ramps, flip, share):
        views = still(flip=flip)(ramps, generator())
        mirrored = views[:, 0, 0, 0] > views[:, 0, 0, -1]
        assert mirrored.float().mean().item() == pytest.approx(share, abs=0.07)
        assert (views[:, 1, 0, 0] < views[:, 1, -1, 0]).all()  # never upside down

    def test_four_fifths_change_in_brightness_by_the_strength(self, ramps):
        flat = torch.full((500, 1, 4, 4), 100, dtype=torch.uint8)
        views = still(color_jitter=0.5)(flat, generator())[:, 0, 0, 0]
        factor = (views / 4 + 0.5) * 255 / 100
        changed = (factor - 1).abs() > 1e-4
        assert changed.float().mean().item() == pytest.approx(0.8, abs=0.06)
        assert 0.6 < factor.min() < 0.62
        assert 1.38 < factor.max() < 1.4

    def test_contrast_changes_about_the_mean(self):
        half = torch.tensor([100, 150], dtype=torch.uint8).expand(500, 1, 2, 2)
        views = (still(color_jitter=0.5)(half, generator()) / 4 + 0.5) * 255
        low, high = views[:, 0, 0, 0], views[:, 0, 0, 1]
        contrast = (high - low) / (high + low) * 5  # free of brightness
        assert 0.6 < contrast.min() < 0.65
        assert 1.35 < contrast.max() < 1.4

    def test_fifth_of_coloured_views_is_grey(self, ramps):
        red = ramps.new_tensor([200, 50, 50])[:, None, None].expand(500, 3, 2, 2)
        views = still(color_jitter=0.5)(red, generator())
        grey = (views.amax(1) - views.amin(1)).amax((1, 2)) < 1e-4
        assert grey.float().mean().item() == pytest.approx(0.2, abs=0.06)

    def test_hue_turns_both_ways(self, ramps):
        red = ramps.new_tensor([200, 50, 50])[:, None, None].expand(500, 3, 2, 2)
        views = still(color_jitter=1.0)(red, generator())[:, :, 0, 0]
        turned = views[:, 1] - views[:, 2]  # to yellow, or to magenta
        assert turned.min() < -0.5
        assert turned.max() > 0.5

    def test_pixels_stay_in_range(self, ramps):
        bright = ramps[:50] + 150
        views = RandomViews((0.1, 1), True, 1.0)(bright, generator())
        black, white = normalize(torch.tensor([0.0, 1.0])[:, None, None, None])[:, 0]
        assert black - 1e-5 <= views.min() and views.max() <= white + 1e-5

    def test_generator_alone_decides(self, ramps, untouched):
        views = RandomViews((0.2, 1), True, 1.0)
        first = views(ramps[:9], generator())
        assert torch.equal(views(ramps[:9], generator()), first)
        assert not torch.equal(views(ramps[:9], generator(1)), first)

    def test_every_image_gets_a_view_of_its_own(self, ramps):
        views = RandomViews((0.2, 1), True, 1.0)(ramps[:9], generator())
        assert len(views.flatten(1).unique(dim=0)) == 9


# --- networks -----------------------------------------------------------------------


@pytest.fixture
def small():
    return random_encoder("small", generator())


class TestNetworks:
    @pytest.mark.parametrize("network", NETWORKS)
    def test_features_are_as_many_as_it_says(self, network):
        encoder = random_encoder(network, generator()).eval()
        with torch.no_grad():
            features = encoder(torch.rand(2, 3, SIDE, SIDE))
        assert features.shape == (2, encoder.n_features)
        assert features.std() > 0

    def test_stem_keeps_the_size_of_the_image(self, small):
        stem = small.resnet.embedder(torch.rand(1, 3, 9, 11))
        assert stem.shape[2:] == (9, 11)

    def test_weights_come_from_the_generator_alone(self, small, untouched):
        again = random_encoder("small", generator()).state_dict()
        for name, weight in small.state_dict().items():
            assert torch.equal(weight, again[name])
        other = random_encoder("small", generator(1)).state_dict()
        name = "resnet.embedder.embedder.convolution.weight"
        assert not torch.equal(small.state_dict()[name], other[name])

    def test_weights_have_the_spread_of_he(self, small):
        weight = small.resnet.encoder.stages[2].layers[0].layer[1].convolution.weight
        fan_out = weight.shape[0] * 9
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.02)

    def test_arrays_give_the_same_network_back(self, small):
        arrays = state_arrays(small)
        assert all(array.flags.c_contiguous for array in arrays.values())
        with torch.no_grad():
            images = torch.rand(3, 3, SIDE, SIDE)
            expected = small.eval()(images)
            assert torch.equal(load_encoder("small", arrays)(images), expected)

    def test_arrays_do_not_follow_further_training(self):
        encoder = random_encoder("small", generator())
        arrays = state_arrays(encoder)
        before = {name: array.copy() for name, array in arrays.items()}
        with torch.no_grad():
            for weight in encoder.parameters():
                weight += 1
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, before[name])


# --- what is learnt -----------------------------------------------------------------


def stripes(n, seed, side=SIDE):
    """Stripes in one of four directions, anywhere, in any light and contrast."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 4
    angle = (y * np.pi / 4)[:, None, None]
    place = np.arange(side)
    along = np.cos(angle) * place[:, None] + np.sin(angle) * place  # (n, side, side)
    width, phase, light, contrast = rng.uniform(
        [0.9, 0, 0.25, 0.05], [1.4, 2 * np.pi, 0.75, 0.25], (n, 4)
    ).T[:, :, None, None]
    images = light + contrast * np.sin(width * along + phase)
    images += 0.09 * rng.standard_normal(images.shape)
    return (255 * images.clip(0, 1)).astype(np.uint8), y


@pytest.fixture(scope="module")
def data():
    return *stripes(240, 0), *stripes(400, 1)


class TestLearning:
    MARGIN = 0.15  # gains are .23 to .36, and below .02 in the broken variants

    def gain(self, data, seed, **params):
        """5-NN accuracy, less that of the same network with random weights."""
        X, y, X_test, y_test = data
        encoder = SimCLRFeatures(
            image_size=SIDE, flip=False, batch_size=48, random_state=seed, device="cpu"
        )
        scores = []
        for epochs in (0, 10):
            encoder.set_params(max_epochs=epochs, **params).fit(X)
            knn = KNeighborsClassifier(5).fit(encoder.transform(X), y)
            scores.append(knn.score(encoder.transform(X_test), y_test))
        return scores[1] - scores[0]

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_trained_network_beats_the_random_one(self, data, seed):
        assert self.gain(data, seed) > self.MARGIN

    def test_without_views_it_does_not(self, data):
        assert self.gain(data, 0, crop_scale=(1, 1), color_jitter=0) < self.MARGIN

    def test_with_wrong_pairs_it_does_not(self, data, monkeypatch):
        right = contrastive.nt_xent
        monkeypatch.setattr(
            contrastive, "nt_xent", lambda a, b, tau: right(a, b.roll(1, 0), tau)
        )
        assert self.gain(data, 0) < self.MARGIN


class TestFit:
    def test_no_epoch_leaves_the_first_weights(self, pixels, fitted):
        model = clone(fitted).set_params(max_epochs=0).fit(pixels)
        seed = np.random.RandomState(0).randint(2**31 - 1)
        first = state_arrays(random_encoder("small", generator(int(seed))))
        for name, array in first.items():
            np.testing.assert_array_equal(model.weights_[name], array)
        assert (model.n_iter_, model.history_) == (0, [])

    def test_loss_of_every_epoch_is_kept(self, fitted):
        assert fitted.n_iter_ == 2
        assert [log["epoch"] for log in fitted.history_] == [0, 1]
        guess = math.log(2 * 8 - 1)
        assert all(0 < log["loss"] < 1.3 * guess for log in fitted.history_)

    def test_equal_seeds_give_equal_weights(self, pixels, fitted, untouched):
        again = clone(fitted).fit(pixels)
        assert_same_weights(again, fitted)
        assert again.history_ == fitted.history_

    def test_other_seeds_give_other_features(self, pixels, fitted):
        other = clone(fitted).set_params(random_state=1).fit(pixels)
        assert np.abs(other.transform(pixels) - fitted.transform(pixels)).max() > 0.01

    @pytest.mark.parametrize(
        ("n", "batch_size", "epochs"), [(100, 50, 100), (5000, 50, 10), (10**6, 50, 5)]
    )
    def test_auto_is_a_thousand_updates_within_bounds(self, n, batch_size, epochs):
        assert SimCLRFeatures(batch_size=batch_size)._n_epochs(n) == epochs

    def test_grey_images_train_alike_in_every_form(self, pixels):
        grey = pixels[..., 0]
        expected = SimCLRFeatures(**QUICK).fit(grey)
        for X in (
            np.repeat(grey[..., None], 3, axis=-1),
            [Image.fromarray(image) for image in grey],
            (image for image in grey),
            torch.from_numpy(grey)[:, None],
        ):
            assert_same_weights(SimCLRFeatures(**QUICK).fit(X), expected)

    def test_colours_are_learnt_from(self, pixels, fitted):
        swapped = pixels[..., ::-1]
        other = clone(fitted).fit(swapped)
        assert np.abs(other.transform(swapped) - fitted.transform(pixels)).max() > 0.01

    def test_unreadable_images_are_left_out_if_asked_for(
        self, pixels, fitted, tmp_path
    ):
        broken = tmp_path / "broken.png"
        broken.write_bytes(b"no image")
        X = [*pixels[:5], broken, *pixels[5:]]
        model = clone(fitted).set_params(on_error="nan")
        with pytest.warns(UserWarning, match=r"1 rows.*trained without them: row 5:"):
            model.fit(X)
        assert_same_weights(model, fitted)
        with pytest.raises(ValueError, match=r"row 5.*broken"):
            clone(fitted).fit(X)

    @pytest.mark.parametrize(
        ("params", "error", "message"),
        [
            ({"network": "vit"}, ValueError, "network must be one of"),
            (
                {"image_size": 0},
                ValueError,
                "image_size must be at least 1 and at most 4096, got 0",
            ),
            ({"max_epochs": -1}, ValueError, "max_epochs must be at least 0, got -1"),
            ({"max_epochs": "all"}, TypeError, "max_epochs must be an integer or 'aut"),
            ({"batch_size": 0}, ValueError, "batch_size"),
            ({"learning_rate": 0}, ValueError, "learning_rate must be above 0"),
            ({"temperature": 0}, ValueError, "temperature must be above 0"),
            ({"flip": "left"}, ValueError, "flip must be one of"),
            ({"color_jitter": 2}, ValueError, "color_jitter must be .* at most 1"),
            ({"crop_scale": (0, 1)}, ValueError, r"crop_scale=\(0, 1\): give"),
            ({"crop_scale": (1, 0.5)}, ValueError, r"crop_scale=.*above 0 and at mo"),
            ({"crop_scale": 0.5}, ValueError, "crop_scale=0.5: give"),
            ({"device": "nowhere"}, ValueError, "device='nowhere' cannot be used"),
        ],
    )
    def test_bad_parameters_are_refused(self, pixels, params, error, message):
        with pytest.raises(error, match=message):
            SimCLRFeatures(**(QUICK | params)).fit(pixels)

    def test_only_colour_jitter_needs_kornia(self, pixels, monkeypatch):
        monkeypatch.setitem(sys.modules, "kornia.enhance", None)
        with pytest.raises(ImportError, match=r'kornia.*"sklabeldiff\[images\]"'):
            SimCLRFeatures(**QUICK).fit(pixels)
        model = SimCLRFeatures(**QUICK, color_jitter=0).fit(pixels)
        assert model.n_iter_ == 2

    def test_bar_counts_epochs_if_verbose(self, pixels, capfd):
        model = SimCLRFeatures(**QUICK).fit(pixels)
        assert capfd.readouterr() == ("", "")
        model.set_params(verbose=1).fit(pixels)
        assert "2/2" in capfd.readouterr().err


class TestInterruption:
    def test_fit_goes_on_from_a_checkpoint_to_the_same_result(
        self, pixels, fitted, tmp_path, monkeypatch
    ):
        model = clone(fitted).set_params(checkpoint_dir=tmp_path)
        original = Trainer.update_average

        def stop(trainer):
            if trainer.n_updates == 4:  # in the second epoch
                raise KeyboardInterrupt
            original(trainer)

        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "update_average", stop)
            with pytest.raises(KeyboardInterrupt):
                model.fit(pixels)
        assert len(list(tmp_path.iterdir())) == 1
        first_updates = []

        def note(trainer):
            first_updates.append(trainer.n_updates)
            original(trainer)

        monkeypatch.setattr(Trainer, "update_average", note)
        model.fit(pixels)
        assert first_updates[0] == 3  # the first epoch is not run again
        assert_same_weights(model, fitted)
        assert model.history_ == fitted.history_
        assert not list(tmp_path.iterdir())

    def test_checkpoint_of_other_parameters_is_not_used(
        self, pixels, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(
            "sklabeldiff._checkpoint.Checkpoint.remove", lambda self: None
        )
        SimCLRFeatures(**QUICK, checkpoint_dir=tmp_path).fit(pixels)
        other = SimCLRFeatures(**QUICK, temperature=0.9, checkpoint_dir=tmp_path)
        fresh = SimCLRFeatures(**QUICK, temperature=0.9).fit(pixels)
        assert_same_weights(other.fit(pixels), fresh)


@pytest.mark.skipif(not HAVE_CALLBACKS, reason="scikit-learn before 1.9")
class TestCallbacks:
    class Listener:
        """Counts epochs, and asks for the model after each; stops after `last`."""

        def __init__(self, last=None):
            self.last, self.models = last, []

        def setup(self, estimator, context): ...

        def teardown(self, estimator, context): ...

        def on_fit_task_begin(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.task_name == "epoch":
                self.models.append(fitted_estimator)
                return len(self.models) == self.last
            return False

    def test_every_epoch_is_told_with_the_model_so_far(self, pixels, fitted):
        listener = self.Listener()
        model = clone(fitted).set_callbacks(listener).fit(pixels)
        assert_same_weights(model, fitted)  # listening changes nothing
        first, last = listener.models
        assert (first.n_iter_, last.n_iter_) == (1, 2)
        features = model.transform(pixels)
        np.testing.assert_array_equal(last.transform(pixels), features)
        assert not np.array_equal(first.transform(pixels), features)

    def test_callback_ends_the_training(self, pixels, fitted):
        model = clone(fitted).set_callbacks(self.Listener(last=1)).fit(pixels)
        assert model.n_iter_ == 1
        assert len(model.transform(pixels)) == len(pixels)


# --- the transformer ----------------------------------------------------------------


class TestTransform:
    def test_features_are_those_of_the_network_at_length_one(self, pixels, fitted):
        images = [Image.fromarray(image).resize((SIDE, SIDE), 2) for image in pixels]
        inputs = torch.tensor(np.stack(images)).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            h = load_encoder("small", fitted.weights_)(normalize(inputs))
        expected = h / h.norm(dim=1, keepdim=True)
        features = fitted.transform(pixels)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, expected, atol=1e-5)
        assert np.ptp(features, axis=0).max() > 0.01  # the images do differ

    def test_features_do_not_depend_on_batch_split_or_order(self, pixels, fitted):
        whole = fitted.transform(pixels)
        single = [fitted.transform(pixels[k : k + 1])[0] for k in range(len(pixels))]
        np.testing.assert_array_equal(single, whole)
        order = np.random.default_rng(1).permutation(len(pixels))
        np.testing.assert_array_equal(fitted.transform(pixels[order]), whole[order])

    def test_needs_a_fit(self, pixels):
        with pytest.raises(NotFittedError):
            SimCLRFeatures().transform(pixels)

    def test_parameters_of_the_next_fit_do_not_matter(self, pixels, fitted):
        other = pickle.loads(pickle.dumps(fitted))
        other.set_params(network="resnet18", image_size=16, random_state=5)
        np.testing.assert_array_equal(other.transform(pixels), fitted.transform(pixels))

    def test_refit_replaces_the_network(self, pixels, fitted):
        model = clone(fitted).fit(pixels)
        before = model.transform(pixels)
        after = model.set_params(random_state=1).fit(pixels).transform(pixels)
        fresh = clone(model).fit(pixels).transform(pixels)
        np.testing.assert_array_equal(after, fresh)
        assert not np.array_equal(after, before)

    def test_pickle_holds_arrays_and_no_network(self, pixels, fitted):
        expected = fitted.transform(pixels)
        data = pickle.dumps(fitted)
        assert b"torch" not in data
        np.testing.assert_array_equal(pickle.loads(data).transform(pixels), expected)

    def test_memory_mapped_weights_give_the_same_features(
        self, pixels, fitted, tmp_path
    ):
        joblib.dump(fitted, tmp_path / "model")
        mapped = joblib.load(tmp_path / "model", mmap_mode="r")
        expected = fitted.transform(pixels)
        np.testing.assert_array_equal(mapped.transform(pixels), expected)

    def test_threads_give_the_same_fits(self, pixels, fitted):
        run = joblib.Parallel(n_jobs=2, backend="threading")
        for model in run(joblib.delayed(clone(fitted).fit)(pixels) for _ in range(2)):
            assert_same_weights(model, fitted)

    def test_cache_is_read_again_and_only_for_the_same_weights(
        self, pixels, fitted, tmp_path, monkeypatch
    ):
        model = clone(fitted).set_params(cache_dir=tmp_path).fit(pixels)
        expected = model.transform(pixels)
        other = clone(model).set_params(random_state=1).fit(pixels)
        features = other.transform(pixels)
        assert not np.array_equal(features, expected)
        monkeypatch.setattr(SimCLRFeatures, "_load", None)  # nothing to encode
        again = pickle.loads(pickle.dumps(model))
        np.testing.assert_array_equal(again.transform(pixels), expected)

    def test_pandas_columns_are_named(self, pixels, fitted):
        frame = clone(fitted).set_output(transform="pandas").fit_transform(pixels)
        assert frame.columns[-1] == "simclrfeatures127"

    def test_serves_in_a_pipeline(self, pixels):
        dark = pixels // 2
        X, y = np.concatenate([pixels, dark]), np.repeat(["light", "dark"], 24)
        model = make_pipeline(
            SimCLRFeatures(**QUICK, color_jitter=0), LogisticRegression(C=1000)
        )
        assert model.fit(X, y).score(X, y) > 0.9


@parametrize_with_checks(
    [
        # Rows of any length are one pixel high, and black is -200. The checks' own
        # numbers then are images, and nothing needs to be excused.
        SimCLRFeatures(
            image_shape=(1, -1),
            value_range=(-200, 200),
            image_size=4,
            batch_size=32,
            max_epochs=1,
            color_jitter=0.0,
            device="cpu",
        )
    ]
)
def test_sklearn_estimator_checks(estimator, check):
    check(estimator)
