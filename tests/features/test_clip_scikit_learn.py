"""CLIPFeatures among scikit-learn's tools, and the line this package is asked for."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklabeldiff import DDMPClassifier
from sklabeldiff.features import CLIPFeatures

N, H, W = 7, 40, 48
WIDTH = 16


def table(values):
    """Flattened rows as a DataFrame with named columns."""
    return pd.DataFrame(values).add_prefix("pixel")


@parametrize_with_checks(
    [
        # Rows of any length are one pixel high, and black is -200. The checks' own
        # numbers then are images, and nothing needs to be excused.
        CLIPFeatures(image_shape=(1, -1), value_range=(-200, 200), batch_size=8),
        CLIPFeatures(image_shape=(-1, 1), value_range=(0, 200), batch_size=8),
    ]
)
def test_sklearn_estimator_checks(estimator, check, squash_folder):
    check(clone(estimator).set_params(model=str(squash_folder), device="cpu"))


def test_tags_say_what_x_may_be():
    tags = get_tags(CLIPFeatures()).input_tags
    assert (tags.two_d_array, tags.string, tags.three_d_array) == (False, True, True)
    tags = get_tags(CLIPFeatures(image_shape=(8, 8))).input_tags
    assert (tags.two_d_array, tags.positive_only) == (True, True)
    assert not get_tags(CLIPFeatures(value_range=(-1, 1))).input_tags.positive_only


def test_columns_are_remembered_for_rows_only(encoder, pixels):
    encoder.set_params(image_shape=(H, W, 3))
    frame = table(pixels.reshape(N, -1))
    encoder.fit(frame)
    assert encoder.n_features_in_ == H * W * 3
    assert list(encoder.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        encoder.transform(frame.iloc[:, :30])
    encoder.fit(pixels)
    assert not hasattr(encoder, "n_features_in_")
    assert not hasattr(encoder, "feature_names_in_")
    assert encoder.n_features_out_ == WIDTH


@pytest.mark.parametrize("fitted", [True, False])
def test_set_output_names_the_columns(encoder, paths, fitted):
    encoder.set_output(transform="pandas")
    frame = (encoder.fit(paths) if fitted else encoder).transform(paths)
    assert list(frame.columns) == [f"clipfeatures{j}" for j in range(WIDTH)]
    assert (frame.dtypes == np.float32).all()
    assert isinstance(
        encoder.set_output(transform="polars").transform(paths), pl.DataFrame
    )


@pytest.fixture(scope="session")
def coloured():
    """Red and blue noise, which even a random network tells apart."""
    rng = np.random.default_rng(0)
    y = np.arange(24) % 2
    images = rng.integers(0, 80, (24, 16, 16, 3), dtype=np.uint8)
    images[np.arange(24), :, :, y * 2] += 150
    return images, np.array(["red", "blue"])[y]


@pytest.mark.parametrize("form", ["rows", "array", "PIL images"])
def test_pipeline_and_grid_search(encoder, coloured, form):
    images, y = coloured
    X = {
        "rows": images.reshape(24, -1),
        "array": images,
        "PIL images": [Image.fromarray(image) for image in images],
    }[form]
    encoder.set_params(image_shape=(16, 16, 3), batch_size=16)
    pipeline = Pipeline([("enc", encoder), ("clf", LogisticRegression(C=100))])
    search = GridSearchCV(pipeline, {"clf__C": [1, 100]}, cv=2).fit(X, y)
    assert search.best_score_ == 1
    restored = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(restored.predict(X), y)
    np.testing.assert_array_equal(cross_val_predict(pipeline, X, y, cv=2), y)


def test_pipeline_memory_computes_features_once(encoder, coloured, loads, tmp_path):
    images, y = coloured
    pipeline = make_pipeline(encoder, LogisticRegression(), memory=str(tmp_path))
    predicted = pipeline.fit(images, y).predict(images)
    assert len(loads) == 1
    again = clone(pipeline).set_params(logisticregression__C=3).fit(images, y)
    assert len(loads) == 1  # the features came from the cache
    np.testing.assert_array_equal(again.predict(images), predicted)


def test_column_of_paths_in_a_column_transformer(encoder, paths):
    frame = pd.DataFrame({"path": paths, "age": np.arange(N)})
    both = make_column_transformer((encoder, "path"), ("passthrough", ["age"]))
    features = both.fit_transform(frame)
    np.testing.assert_array_equal(features[:, :WIDTH], encoder.transform(paths))
    assert both.get_feature_names_out()[0] == "clipfeatures__clipfeatures0"


def test_clip_features_and_ddmp_in_a_pipeline_and_a_search(encoder, coloured):
    images, y = coloured
    sets = [frozenset({label}) for label in y]
    sets[::5] = [frozenset({"red", "blue"})] * len(sets[::5])
    encoder.set_params(batch_size=16)
    clf = DDMPClassifier(max_epochs=20, random_state=0)
    pipeline = Pipeline([("enc", encoder), ("clf", clf)])
    assert np.mean(pipeline.fit(images, sets).predict(images) == y) > 0.9
    search = GridSearchCV(pipeline, {"clf__gamma": [0, 0.3]}, cv=2).fit(images, sets)
    assert search.best_score_ > 0.9
    restored = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(
        restored.predict_proba(images), search.predict_proba(images)
    )
