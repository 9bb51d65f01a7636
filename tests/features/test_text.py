"""TextFeatures on a tiny random sentence encoder."""

import pickle
import shutil
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sentence_transformers
import torch
import transformers
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks, get_tags

from sklabeldiff.features import TextFeatures

TEXTS = [
    "a good film",
    "bad",
    "",
    "good " * 40,  # longer than the network can take
    "a very very good film with a bad end",
    "film " * 17,
    "bad film",
]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"a good bad film very with end".split()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of a random BERT of 2 layers, as sentence-transformers saves it."""
    network, whole = (tmp_path_factory.mktemp(name) for name in ("bert", "sentences"))
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(network)
    vocabulary = network / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS))
    transformers.BertTokenizerFast.from_pretrained(network).save_pretrained(network)
    sentence_transformers.SentenceTransformer(str(network), device="cpu").save(
        str(whole), create_model_card=False
    )
    return whole


@pytest.fixture
def encoder(folder):
    return TextFeatures(folder, device="cpu", batch_size=3)


def test_features_equal_those_of_sentence_transformers(encoder, folder):
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    expected = model.encode(TEXTS, normalize_embeddings=True)
    features = encoder.fit_transform(TEXTS)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert encoder.n_features_out_ == 32
    plain = encoder.set_params(normalize=False).transform(TEXTS)
    np.testing.assert_allclose(plain, model.encode(TEXTS), atol=1e-5)
    assert not np.allclose(plain, features)


def test_features_do_not_depend_on_the_other_texts(encoder):
    whole = encoder.transform(TEXTS)
    one_by_one = [encoder.transform([text])[0] for text in TEXTS]
    np.testing.assert_array_equal(one_by_one, whole)
    np.testing.assert_array_equal(encoder.transform(TEXTS[::-1]), whole[::-1])


def spied_shapes(encoder, monkeypatch):
    """List that the shapes of the blocks will be noted in."""
    shapes = []
    module = encoder.fit(TEXTS)._encoder().module
    forward = type(module).forward

    def spy(self, batch, **kwargs):
        shapes.append(tuple(batch["input_ids"].shape))
        return forward(self, batch, **kwargs)

    monkeypatch.setattr(type(module), "forward", spy)
    return shapes


def test_short_texts_pass_through_in_short_blocks(encoder, monkeypatch):
    shapes = spied_shapes(encoder, monkeypatch)
    encoder.transform(TEXTS)
    # Five short texts are two blocks of three; the two others are cut off at 32.
    assert shapes == [(3, 16), (3, 16), (3, 32)]


def test_prompt_comes_before_every_text(encoder):
    expected = encoder.transform([f"very {text}" for text in TEXTS])
    encoder.set_params(prompt="very ")
    np.testing.assert_array_equal(encoder.transform(TEXTS), expected)


@pytest.fixture(scope="module")
def folder_with_prompt(folder, tmp_path_factory):
    """Folder of the same network, saved with a default prompt."""
    model = sentence_transformers.SentenceTransformer(
        str(folder),
        device="cpu",
        prompts={"search": "very bad film "},
        default_prompt_name="search",
    )
    whole = tmp_path_factory.mktemp("prompt")
    model.save(str(whole), create_model_card=False)
    return whole


def test_models_own_default_prompt_is_obeyed(folder_with_prompt):
    model = sentence_transformers.SentenceTransformer(
        str(folder_with_prompt), device="cpu"
    )
    encoder = TextFeatures(folder_with_prompt, device="cpu", normalize=False)
    default = encoder.transform(TEXTS)
    np.testing.assert_allclose(default, model.encode(TEXTS), atol=1e-5)
    none = encoder.set_params(prompt="").transform(TEXTS)
    np.testing.assert_allclose(none, model.encode(TEXTS, prompt=""), atol=1e-5)
    assert not np.allclose(none, default)


def test_cache_tells_no_prompt_from_the_models_own(folder_with_prompt, tmp_path):
    encoder = TextFeatures(folder_with_prompt, device="cpu", cache_dir=tmp_path)
    default = encoder.transform(TEXTS)
    assert not np.allclose(
        clone(encoder).set_params(prompt="").transform(TEXTS), default
    )


def test_blocks_are_cut_by_the_length_with_the_prompt(encoder, monkeypatch):
    shapes = spied_shapes(encoder.set_params(prompt="very " * 10), monkeypatch)
    encoder.transform(["bad", "good film " * 3, "a film", "bad end"])
    assert shapes == [(3, 16), (3, 32)]


def test_prompt_of_another_kind_is_refused(encoder):
    with pytest.raises(TypeError, match=r"prompt=\['a'\]: give a str .* or None"):
        encoder.set_params(prompt=["a"]).fit(TEXTS)


def test_tokens_are_filled_up_on_the_tokenizers_own_side(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer.save_pretrained(tmp_path)
    model = sentence_transformers.SentenceTransformer(str(tmp_path), device="cpu")
    assert model.tokenizer.padding_side == "left"
    texts = ["bad", "a good film", "good " * 14]  # the last is 16 tokens long
    # One text a block: this network counts positions from the left, padding included.
    encoder = TextFeatures(tmp_path, device="cpu", batch_size=1, normalize=False)
    expected = model.encode(texts)
    np.testing.assert_allclose(encoder.transform(texts), expected, atol=1e-5)


@pytest.fixture
def static_folder(tmp_path):
    """Folder of random static embeddings, whose tokenizer cannot be called."""
    try:
        from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    except ImportError:  # sentence-transformers before version 5.4
        from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = np.random.default_rng(0).normal(size=(len(WORDS), 8))
    static = StaticEmbedding(tokenizer, weights.astype(np.float32))
    model = sentence_transformers.SentenceTransformer(modules=[static], device="cpu")
    model.save(str(tmp_path), create_model_card=False)
    return tmp_path


@pytest.mark.parametrize("prompt", ["", "very "])
def test_static_embeddings_equal_those_of_sentence_transformers(static_folder, prompt):
    model = sentence_transformers.SentenceTransformer(str(static_folder), device="cpu")
    expected = model.encode([prompt + text for text in TEXTS])
    encoder = TextFeatures(
        static_folder, prompt=prompt, normalize=False, device="cpu", batch_size=3
    )
    features = encoder.fit_transform(TEXTS)
    np.testing.assert_allclose(features, expected, atol=1e-6)
    assert np.ptp(features, axis=0).min() > 0.1  # the texts do differ
    assert encoder.n_features_out_ == 8
    one_by_one = [encoder.transform([text])[0] for text in TEXTS]
    np.testing.assert_array_equal(one_by_one, features)


FORMS = {
    "tuple": tuple,
    "array": np.array,
    "object array": lambda x: np.array(x, dtype=object),
    "Series": lambda x: pd.Series(x, index=range(10, 17)),
    "polars Series": pl.Series,
    "one-column DataFrame": lambda x: pd.DataFrame({"text": x}),
    "polars DataFrame": lambda x: pl.DataFrame({"text": x}),
    "column vector": lambda x: np.array(x)[:, None],
    "iterator": iter,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_texts_gives_the_same_features(encoder, form):
    expected = encoder.transform(TEXTS)
    X = FORMS[form](TEXTS)
    np.testing.assert_array_equal(encoder.fit_transform(X), expected)


def test_streams_are_read_in_parts(encoder, monkeypatch):
    monkeypatch.setattr("sklabeldiff.features._text.PART_ROWS", 3)
    expected = encoder.transform(TEXTS)
    np.testing.assert_array_equal(encoder.transform(iter(TEXTS)), expected)
    with pytest.raises(TypeError, match="row 4 is 3 of type int"):
        encoder.transform(iter([*TEXTS[:4], 3]))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("a film", TypeError, r"X is one text .*\[X\]"),
        (["a", None], TypeError, r"row 1 is None of type NoneType.*Fill the missing"),
        (["a", b"b"], TypeError, r"row 1 is b'b' of type bytes"),
        (pd.Series(["a", np.nan]), TypeError, "row 1 is nan"),
        ([], ValueError, "holds no row"),
        (np.array([["a", "b"]]), ValueError, r"shape \(1, 2\).*one column"),
    ],
)
def test_what_is_no_text_is_refused(encoder, X, error, message):
    with pytest.raises(error, match=message):
        encoder.transform(X)
    with pytest.raises(error, match=message):
        encoder.fit(X)


def test_cached_blocks_are_cut_from_many_texts(encoder, tmp_path, monkeypatch):
    X = [f"film {number}" + number % 2 * " bad" * 20 for number in range(1030)]
    encoder.set_params(cache_dir=tmp_path, batch_size=512)
    shapes = spied_shapes(encoder, monkeypatch)
    encoder.transform(X)
    assert shapes == [(512, 16), (512, 16), (512, 32), (512, 32)]


def test_missing_texts_of_a_stream_are_nan_if_wanted(encoder):
    encoder.set_params(on_error="nan")
    with pytest.warns(UserWarning, match=r"1 rows .*row 1 is None"):
        features = encoder.transform(iter(["a", None]))
    np.testing.assert_array_equal(np.isnan(features).all(axis=1), [False, True])


def test_missing_texts_are_nan_if_wanted(encoder):
    expected = encoder.transform(TEXTS)
    encoder.set_params(on_error="nan")
    with pytest.warns(UserWarning, match=r"1 rows .*row 1 is None"):
        features = encoder.transform([TEXTS[0], None, *TEXTS[2:]])
    assert np.isnan(features[1]).all()
    np.testing.assert_array_equal(np.delete(features, 1, 0), np.delete(expected, 1, 0))


def test_cache_gives_the_same_and_computes_nothing_twice(
    encoder, tmp_path, monkeypatch
):
    expected = encoder.transform(TEXTS)
    encoder.set_params(cache_dir=tmp_path)
    np.testing.assert_array_equal(encoder.transform(TEXTS), expected)
    other = clone(encoder).set_params(prompt="very ")
    assert not np.array_equal(other.transform(TEXTS), expected)
    monkeypatch.setattr(TextFeatures, "_load", None)
    again = clone(encoder).fit(TEXTS)
    np.testing.assert_array_equal(again.transform(TEXTS[::-1]), expected[::-1])


def test_cache_tells_normalized_features_from_others(encoder, tmp_path):
    expected = encoder.set_params(normalize=False).transform(TEXTS)
    encoder.set_params(normalize=True, cache_dir=tmp_path).transform(TEXTS)
    encoder.set_params(normalize=False)
    np.testing.assert_array_equal(encoder.transform(TEXTS), expected)


def test_weights_stay_out_of_pickles(encoder):
    expected = encoder.fit_transform(TEXTS)
    data = pickle.dumps(encoder)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data).transform(TEXTS), expected)


def test_column_of_texts_in_a_pipeline(encoder):
    frame = pd.DataFrame({"text": TEXTS, "age": np.arange(7)})
    columns = make_column_transformer((encoder, "text"), ("passthrough", ["age"]))
    y = np.arange(7) % 2
    model = make_pipeline(columns, LogisticRegression(C=1e3)).fit(frame, y)
    names = columns.fit(frame).get_feature_names_out()
    assert names[0] == "textfeatures__textfeatures0"
    assert model.score(frame, y) > 0.8


def test_missing_library_names_the_extra(encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(
        ImportError, match=r'sentence-transformers, .*"sklabeldiff\[text\]"'
    ):
        encoder.fit(TEXTS)


def test_unknown_model_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(OSError, match=r"sentence encoder .*cannot be loaded.*pass its"):
        TextFeatures(tmp_path / "nowhere", device="cpu").fit(TEXTS)


def test_stderr_is_silent_unless_verbose(encoder, capfd):
    encoder.fit_transform(TEXTS)
    assert capfd.readouterr() == ("", "")
    encoder.set_params(verbose=1).transform(TEXTS)
    assert "7/7" in capfd.readouterr().err


# scikit-learn tests no estimator of texts; these checks need no X.
CHECKS = [
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("check", CHECKS)
def test_sklearn_estimator_checks(encoder, check):
    getattr(estimator_checks, check)("TextFeatures", encoder)


def test_tags_say_that_x_is_a_column_of_strings():
    tags = get_tags(TextFeatures()).input_tags
    assert (tags.two_d_array, tags.one_d_array, tags.string) == (False, True, True)
