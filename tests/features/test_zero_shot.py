"""Labels that CLIP gives by the names of classes."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.base import clone

from sklabeldiff import DDMPClassifier, encode_candidates
from sklabeldiff.features import CLIPFeatures
from sklabeldiff.features._class_names import choose_candidates

NAMES = ["a", "b", "c", "d"]


@pytest.fixture(scope="session")
def clip_with_words(clip_folder, tmp_path_factory):
    """Folder of the tiny CLIP with a text half that knows letters."""
    folder = tmp_path_factory.mktemp("words")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "photo", "of", "this", *NAMES]
    config = transformers.CLIPConfig.from_pretrained(clip_folder)
    config.text_config.update(
        {
            "vocab_size": len(words),
            "max_position_embeddings": 8,
            "pad_token_id": 0,
            "bos_token_id": 2,
            "eos_token_id": 3,
        }
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = transformers.CLIPModel(config)
    with torch.no_grad():
        model.logit_scale.fill_(2.5)  # similarities of random networks differ little
    model.save_pretrained(folder)
    transformers.CLIPImageProcessor.from_pretrained(clip_folder).save_pretrained(folder)
    save_tokenizer(words, folder)
    return folder


def save_tokenizer(words, folder):
    """Save a word-level tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    ).save_pretrained(folder)


@pytest.fixture
def clip(clip_with_words):
    return CLIPFeatures(
        clip_with_words, class_names=NAMES, text="photo of {}", device="cpu"
    )


def direct_proba(folder, pixels, texts, processor):
    """Probabilities by transformers' own forward pass. -> (n, C)."""
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    images = [Image.fromarray(image) for image in pixels]
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        output = model(
            **processor(images=images, return_tensors="pt"),
            **{name: tokens[name] for name in ("input_ids", "attention_mask")},
        )
    return output.logits_per_image.softmax(1).numpy()


def test_probabilities_equal_a_direct_call_of_transformers(
    clip, clip_with_words, pixels, processor_class
):
    texts = [f"photo of {name}" for name in NAMES]
    direct = direct_proba(clip_with_words, pixels, texts, processor_class())
    proba = clip.zero_shot_proba(pixels)
    np.testing.assert_allclose(proba, direct, atol=1e-5)
    assert np.ptp(proba, axis=1).min() > 0.05  # the prompts do differ


def test_several_prompts_count_by_their_mean_direction(clip, pixels):
    features = clip.transform(pixels)
    directions = []
    for text in ("photo of {}", "this {}"):
        clip.set_params(text=text)
        directions.append(clip._class_directions()[0])
    mean = sum(directions)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    clip.set_params(text=["photo of {}", "this {}"])
    logits = np.exp(2.5) * features @ mean.T
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(clip.zero_shot_proba(pixels), expected, atol=1e-5)


@pytest.mark.parametrize("mass", [0.3, 0.6, 0.9, 1])
def test_candidates_are_the_smallest_sets_that_reach_the_mass(clip, pixels, mass):
    proba = clip.zero_shot_proba(pixels)
    candidates = clip.zero_shot_candidates(pixels, mass=mass)
    assert candidates.dtype == bool
    assert candidates.any(axis=1).all()
    for p, inside in zip(proba, candidates, strict=True):
        assert p[inside].min() >= np.max(p[~inside], initial=0)
        assert p[inside].sum() >= mass - 1e-6
        assert p[inside].sum() - p[inside].min() < mass


def test_sets_grow_with_the_mass_and_never_beyond_the_limit(clip, pixels):
    sizes = [
        clip.zero_shot_candidates(pixels, mass=mass).sum() for mass in (0.3, 0.6, 0.9)
    ]
    assert sizes[0] < sizes[1] < sizes[2]
    limited = clip.zero_shot_candidates(pixels, mass=0.9, max_candidates=2)
    assert limited.sum(axis=1).max() == 2
    best = clip.zero_shot_candidates(pixels, mass=0.01)
    assert (best & limited == best).all()


def test_soft_weights_are_the_probabilities_of_the_candidates(clip, pixels):
    proba = clip.zero_shot_proba(pixels)
    inside = clip.zero_shot_candidates(pixels, mass=0.6)
    soft = clip.zero_shot_candidates(pixels, mass=0.6, soft=True)
    np.testing.assert_array_equal(soft, np.where(inside, proba, 0))


def test_image_that_cannot_be_read_may_be_anything(clip, pixels):
    clip.set_params(on_error="nan")
    with pytest.warns(UserWarning, match="row 1 is None"):
        candidates = clip.zero_shot_candidates([pixels[0], None], mass=0.3)
    assert candidates[1].all()
    with pytest.warns(UserWarning, match="row 1 is None"):
        soft = clip.zero_shot_candidates([pixels[0], None], mass=0.3, soft=True)
    np.testing.assert_array_equal(soft[1], 0.25)


def test_candidates_train_a_classifier_that_knows_the_names(clip, pixels):
    Y = pd.DataFrame(clip.zero_shot_candidates(pixels, mass=0.6), columns=NAMES)
    model = DDMPClassifier(max_epochs=2, random_state=0)
    model.fit(clip.transform(pixels), Y)
    assert model.classes_.tolist() == NAMES
    assert set(encode_candidates(Y)[1]) == set(NAMES)


def test_scores_are_appended_with_the_names_of_the_classes(clip, pixels):
    plain = clip.transform(pixels)
    both = clone(clip).set_params(append_scores=True).set_output(transform="pandas")
    frame = both.fit(pixels).transform(pixels)
    assert both.n_features_out_ == plain.shape[1] + 4
    assert list(frame.columns[-4:]) == [f"clipfeatures_{name}" for name in NAMES]
    assert frame.columns[0] == "clipfeatures0"
    np.testing.assert_array_equal(frame.iloc[:, :-4], plain)
    np.testing.assert_array_equal(frame.iloc[:, -4:], clip.zero_shot_proba(pixels))


def test_text_half_is_read_once(clip, pixels, monkeypatch):
    expected = clip.zero_shot_proba(pixels)
    monkeypatch.setattr(transformers.CLIPModel, "from_pretrained", None)
    np.testing.assert_array_equal(clip.zero_shot_proba(pixels), expected)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"class_names": None}, "class_names=None: name the classes"),
        ({"class_names": ["a"]}, "two or more different names"),
        ({"class_names": ["a", "a"]}, "two or more different names"),
        ({"class_names": "ab"}, "two or more different names"),
        ({"class_names": ["a", None]}, "class_names holds None of type NoneType"),
        ({"class_names": [3, 4]}, "class_names holds 3 of type int"),
        ({"class_names": np.arange(3)}, "class_names holds .*0.* of type int64"),
        ({"text": "a photo"}, "text='a photo': a prompt holds {}"),
        ({"text": []}, "a prompt holds {}"),
    ],
)
def test_bad_names_and_prompts_are_refused(clip, pixels, params, message):
    clip.set_params(append_scores=True, **params)
    with pytest.raises(ValueError, match=message):
        clip.fit(pixels)
    with pytest.raises(ValueError, match=message):
        clip.zero_shot_proba(pixels)


@pytest.mark.parametrize(
    "params", [{"mass": 0}, {"mass": 1.1}, {"mass": "all"}, {"max_candidates": 0}]
)
def test_bad_sizes_of_sets_are_refused(clip, pixels, params):
    with pytest.raises(ValueError, match=next(iter(params))):
        clip.zero_shot_candidates(pixels, **params)


@pytest.fixture
def vision_only(clip_folder, tmp_path):
    """Extractor with a model of an image half alone, which has no class names."""
    config = transformers.CLIPConfig.from_pretrained(clip_folder).vision_config
    with torch.random.fork_rng():
        transformers.CLIPVisionModelWithProjection(config).save_pretrained(tmp_path)
    transformers.CLIPImageProcessor.from_pretrained(clip_folder).save_pretrained(
        tmp_path
    )
    return CLIPFeatures(tmp_path, class_names=NAMES, device="cpu")


@pytest.mark.parametrize(
    ("method", "append_scores"),
    [("fit", True), ("transform", True), ("zero_shot_proba", False)],
)
def test_model_without_text_half_is_refused_before_the_images(
    vision_only, pixels, loads, method, append_scores
):
    vision_only.set_params(append_scores=append_scores)
    with pytest.raises(ValueError, match=r"clip_vision_model', not a CLIP .* 'clip'\."):
        getattr(vision_only, method)(pixels)
    assert loads == []


def test_model_without_text_half_gives_features_whatever_the_names(vision_only, pixels):
    assert vision_only.fit_transform(pixels).shape[0] == len(pixels)


def copied_without(folder, target, unwanted):
    """Copy the files of a model without some of them."""
    for path in folder.iterdir():
        if not path.name.startswith(unwanted):
            shutil.copy(path, target)


def test_missing_text_weights_are_refused(clip, clip_with_words, pixels, tmp_path):
    copied_without(clip_with_words, tmp_path, "model.safetensors")
    weights = load_file(clip_with_words / "model.safetensors")
    kept = {k: v for k, v in weights.items() if not k.startswith("text_")}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    clip.set_params(model=tmp_path)
    with pytest.raises(ValueError, match=r"lacks weights .*'text_.*from CLIPModel"):
        clip.zero_shot_proba(pixels)


def test_missing_tokenizer_is_refused(clip, clip_with_words, pixels, tmp_path):
    copied_without(clip_with_words, tmp_path, "tokenizer")
    clip.set_params(model=tmp_path)
    # transformers 4 says so itself.
    with pytest.raises((ValueError, OSError, TypeError), match=r"[Tt]okenizer"):
        clip.zero_shot_proba(pixels)


def test_names_of_the_same_tokens_are_refused(clip, pixels):
    clip.set_params(class_names=["a", "owl", "newt"])
    with pytest.raises(ValueError, match=r"model=.*'photo of owl' and 'photo of newt'"):
        clip.zero_shot_proba(pixels)


def test_prompts_may_be_the_same_to_the_tokenizer(clip, pixels):
    expected = clip.zero_shot_proba(pixels)
    clip.set_params(text=["photo of {}", "photo  of {}"])
    np.testing.assert_allclose(clip.zero_shot_proba(pixels), expected, atol=1e-6)


def test_braces_with_something_in_them_are_left_alone(clip, pixels):
    clip.set_params(text="photo of {} {x}")
    proba = clip.zero_shot_proba(pixels)
    clip.set_params(class_names=[f"{name} {{x}}" for name in NAMES], text="photo of {}")
    np.testing.assert_array_equal(clip.zero_shot_proba(pixels), proba)


def test_names_may_be_an_array(clip, pixels):
    clip.set_params(append_scores=True)
    expected = clip.fit_transform(pixels)
    clip.set_params(class_names=np.unique(NAMES))
    np.testing.assert_array_equal(clip.fit(pixels).transform(pixels), expected)
    names = clip.get_feature_names_out()
    assert names[-4:].tolist() == [f"clipfeatures_{name}" for name in NAMES]


def test_classes_of_probability_zero_are_no_candidates():
    # Rounded, these two sum to a little less than one.
    proba = np.array([[0.7, 0.0, 0.29999998], [0.0, 1 - 1e-6, 0.0]], np.float32)
    expected = [[True, False, True], [False, True, False]]
    chosen = choose_candidates(proba, 1, None, soft=False)
    np.testing.assert_array_equal(chosen, expected)
