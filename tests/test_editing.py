"""DiffusionEditor on a tiny random InstructPix2Pix: no download, the whole path."""

import copy
import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.base import clone
from torch.nn.functional import interpolate

from sklabeldiff import _editing_pipeline, editing
from sklabeldiff._editing_pipeline import Pipeline, Settings, edit_operations
from sklabeldiff._editing_run import Forecast, MemoryStore, complete, in_words
from sklabeldiff.editing import DiffusionEditor
from sklabeldiff.features._store import FeatureStore

# diffusers' schedulers hand tensors to np.array, which numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

SIDE = 16  # pixels that the tiny model sees
TOKENS = 16  # that it reads
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
ROWS, LABELS = [0, 0, 1, 2, 3], ["cat", "dog", "cat", "dog", "eel"]

# Edits with 0.3 s of rest a block; to be killed.
SCRIPT = """
import sys, time, warnings
import numpy as np
from sklabeldiff import _editing_pipeline
from sklabeldiff.editing import DiffusionEditor

edit = _editing_pipeline.Pipeline.edit

def slowly(*args):
    time.sleep(0.3)
    return edit(*args)

_editing_pipeline.Pipeline.edit = slowly
folder, cache, images = sys.argv[1:]
editor = DiffusionEditor(
    folder, image_size=16, n_steps=2, batch_size=2, device="cpu", cache_dir=cache
)
X = np.load(images)
editor(X, np.arange(len(X)), ["cat"] * len(X))
"""


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Run torch on one thread: for matrices this small, more only get in the way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of a random model; its latents have half the side of its images."""
    import diffusers
    import transformers

    home = tmp_path_factory.mktemp("model")
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters]
    tokens += [f"{letter}</w>" for letter in letters]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (home / "vocab.json").write_text(json.dumps(vocabulary))
    (home / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(
        home, model_max_length=TOKENS
    )
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = transformers.CLIPTextConfig(
        vocab_size=len(tokens),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        **special,
    )
    sizes = {"block_out_channels": (4, 8), "norm_num_groups": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = {
            "text_encoder": transformers.CLIPTextModel(text),
            "unet": diffusers.UNet2DConditionModel(
                in_channels=8,
                out_channels=4,
                layers_per_block=1,
                cross_attention_dim=8,
                attention_head_dim=2,
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                **sizes,
            ),
            "vae": diffusers.AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                **sizes,
            ),
        }
    # What the published model was saved with.
    scheduler = diffusers.EulerAncestralDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
    )
    pipe = diffusers.StableDiffusionInstructPix2PixPipeline(
        **parts,
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(home / "whole")
    return home / "whole"


@pytest.fixture
def editor(folder):
    return DiffusionEditor(
        folder, image_size=SIDE, n_steps=2, batch_size=4, device="cpu", verbose=0
    )


@pytest.fixture
def cached(editor, tmp_path):
    return editor.set_params(cache_dir=tmp_path / "cache")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 12, 10, 3), dtype=np.uint8)


@pytest.fixture
def calls(monkeypatch):
    """Arguments of every call of the pipeline, in order."""
    from diffusers import StableDiffusionInstructPix2PixPipeline as Kind

    seen, original = [], Kind.__call__

    def noted(pipe, **kwargs):
        seeds = [generator.initial_seed() for generator in kwargs["generator"]]
        seen.append(kwargs | {"pipe": pipe, "seeds": seeds})
        return original(pipe, **kwargs)

    monkeypatch.setattr(Kind, "__call__", noted)
    return seen


@pytest.fixture
def loads(monkeypatch):
    """Names that weights were loaded from, in order."""
    names, original = [], editing.load_pipeline

    def counted(name, *args):
        names.append(name)
        return original(name, *args)

    monkeypatch.setattr(editing, "load_pipeline", counted)
    return names


@pytest.fixture
def unloadable(monkeypatch):
    """Whoever loads the model fails."""
    monkeypatch.setattr(editing, "load_pipeline", None)


def grey(images):
    """As Pillow's mode L has it."""
    return (images @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)


def distance(a, b):
    return np.abs(a.astype(int) - b.astype(int)).max()


def users(caught):
    """Warnings that are not diffusers' own."""
    return [warning for warning in caught if warning.category is UserWarning]


def edited_prompts(calls):
    """Prompts of all calls without those that fill up a block."""
    return [
        prompt
        for call in calls
        for prompt, seed in dict.fromkeys(
            zip(call["prompt"], call["seeds"], strict=True)
        )
    ]


class TestEdits:
    @pytest.mark.parametrize(
        "make",
        [
            lambda images: images,
            lambda images: (images / 255).astype(np.float32),
            grey,
            lambda images: grey(images)[..., None] / 255,
        ],
        ids=["uint8", "float32", "grey", "grey float64"],
    )
    def test_have_the_form_of_the_images(self, editor, images, make):
        X = make(images)
        edits = editor(X, [3, 1], ["cat", "cat"])
        assert edits.shape == (2, *X.shape[1:])
        assert edits.dtype == X.dtype
        assert 0 <= edits.min() < edits.max() <= (255 if X.dtype == np.uint8 else 1)

    def test_belong_to_their_own_row_and_label_in_the_order_given(self, editor, images):
        edits = editor(images, ROWS, LABELS)
        alone = [
            editor(images, [row], [label])[0]
            for row, label in zip(ROWS, LABELS, strict=True)
        ]
        np.testing.assert_array_equal(edits, alone)
        for i in range(len(ROWS)):
            for j in range(i):
                assert distance(edits[i], edits[j]) > 20

    def test_equal_a_direct_call_of_diffusers(self, editor, images, folder, calls):
        import diffusers

        edits = editor(images, [0, 0, 1, 2], ["cat", "dog", "cat", "eel"])
        seeds = calls[0]["seeds"]
        pipe = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(
            folder, safety_checker=None, requires_safety_checker=False
        )
        pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
            pipe.scheduler.config, algorithm_type="dpmsolver++"
        )
        pixels = torch.from_numpy(images[[0, 0, 1, 2]]).permute(0, 3, 1, 2) / 255
        direct = pipe(
            prompt=["cat", "dog", "cat", "eel"],
            image=interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True),
            num_inference_steps=2,
            guidance_scale=5.0,
            image_guidance_scale=1.5,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="pt",
        ).images
        direct = interpolate(direct, (12, 10), mode="bilinear", antialias=True)
        direct = (255 * direct).round().permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(edits, direct.astype(np.uint8))

    def test_parameters_reach_the_pipeline(self, editor, images, calls):
        editor.set_params(guidance_scale=3, image_guidance_scale=2, n_steps=3)
        editor(images, [0], ["cat"])
        (call,) = calls
        assert call["guidance_scale"] == 3
        assert call["image_guidance_scale"] == 2
        assert call["num_inference_steps"] == 3
        assert call["image"].shape == (4, 3, SIDE, SIDE)
        assert "negative_prompt" not in call
        scheduler = call["pipe"].scheduler
        assert type(scheduler).__name__ == "DPMSolverMultistepScheduler"
        assert scheduler.config.algorithm_type == "dpmsolver++"
        assert scheduler.config.steps_offset == 1  # as it was saved
        assert call["pipe"].safety_checker is None

    def test_defaults_are_those_of_the_paper(self):
        editor = DiffusionEditor()
        assert editor.model == "timbrooks/instruct-pix2pix"
        assert editor._settings() == Settings(5.0, 1.5, 10, 256)

    def test_every_block_has_batch_size_edits(self, editor, images, calls):
        editor(images, ROWS, LABELS)
        assert [len(call["prompt"]) for call in calls] == [4, 4]
        assert [len(call["image"]) for call in calls] == [4, 4]

    def test_depend_on_batch_size_by_a_step_at_most(self, editor, images):
        edits = editor(images, ROWS, LABELS)
        for batch_size in (1, 3, 8):
            editor.set_params(batch_size=batch_size)
            # One step of 8 bits: sums of another size are rounded otherwise.
            assert distance(editor(images, ROWS, LABELS), edits) <= 1

    def test_equal_pairs_are_edited_once(self, editor, images, calls):
        X = np.concatenate([images, images[:1]])
        edits = editor(X, [0, 1, 5, 0], ["cat"] * 4)
        assert len(edited_prompts(calls)) == 2
        np.testing.assert_array_equal(edits[[2, 3]], edits[[0, 0]])

    def test_noise_is_that_of_random_state_image_and_prompt(
        self, editor, images, calls
    ):
        editor.set_params(batch_size=1)
        for seed in (0, 0, 1):
            editor.set_params(random_state=seed)
            editor(images, [0, 0, 1], ["cat", "dog", "cat"])
        seeds = [call["seeds"][0] for call in calls]
        assert seeds[:3] == seeds[3:6]
        assert len(set(seeds)) == 6

    def test_no_pair_gives_no_edit(self, editor, images, unloadable):
        edits = editor(images, [], [])
        assert edits.shape == (0, 12, 10, 3)
        assert edits.dtype == np.uint8

    def test_nan_is_refused(self, editor, images):
        editor(images, [0], ["cat"])
        with torch.no_grad():
            editor._loaded[1].pipe.vae.decoder.conv_out.bias.fill_(float("nan"))
        with pytest.raises(ValueError, match=r"NaN.*try precision='float32'"):
            editor(images, [0], ["cat"])


class TestPrompts:
    def test_are_the_bare_labels(self, editor, images, calls):
        editor(images, ROWS, np.array(LABELS))
        assert edited_prompts(calls) == LABELS

    @pytest.mark.parametrize("kind", [list, np.array])
    def test_are_those_of_the_classes(self, editor, images, calls, kind):
        editor.set_params(class_prompts={3: "a cat", 7: "a dog", 9: "an eel"})
        editor(images, [1, 0], kind([7, 3]))
        assert edited_prompts(calls) == ["a dog", "a cat"]

    def test_class_without_a_prompt_is_named(self, editor, images, unloadable):
        editor.set_params(class_prompts={"cat": "a cat"})
        with pytest.raises(ValueError, match=r"no text for the class 'dog'.*\['cat'\]"):
            editor(images, [0, 1], ["cat", "dog"])

    def test_prompt_that_is_no_text_is_refused(self, editor, images, unloadable):
        editor.set_params(class_prompts={"cat": 3})
        with pytest.raises(TypeError, match="class 'cat' is 3"):
            editor(images, [0], ["cat"])

    @pytest.mark.parametrize("labels", [[4, 7], ["4", "7"], np.array([4.0, 7.0])])
    def test_numbers_bring_one_warning(self, editor, images, labels):
        with pytest.warns(UserWarning, match="class '?4.*Pass class_prompts") as caught:
            editor(images, [0, 1], labels)
        (found,) = users(caught)
        assert found.filename == __file__

    def test_too_long_a_prompt_brings_a_warning(self, editor, images):
        # A start, fifteen letters and an end.
        editor.set_params(class_prompts={0: "a" * 14, 1: "a" * 15})
        with pytest.warns(
            UserWarning, match=f"'{'a' * 15}' has 17 tokens.*first 16"
        ) as caught:
            editor(images, [0, 1], [0, 1])
        assert len(users(caught)) == 1


class TestScale:
    @pytest.fixture
    def expected(self, editor, images, calls):
        """What the pipeline sees and what comes out, for 8-bit pixels."""
        edits = editor(images, ROWS, LABELS)
        seen = torch.cat([call["image"] for call in calls])
        calls.clear()
        return seen, edits

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize(
        "parameters",
        [
            {},
            {"value_range": (-1, 1)},
            {"channel_mean": MEAN, "channel_std": STD},
            {"channel_mean": 0.5},
            {"channel_std": 0.5},
            {"channel_mean": 128, "channel_std": 64, "value_range": (0, 255)},
        ],
        ids=["unit", "range", "channels", "mean", "std", "range and numbers"],
    )
    def test_same_picture_has_the_same_edit(
        self, editor, images, expected, calls, parameters, dtype
    ):
        low, high = parameters.get("value_range", (0, 1))
        mean = np.array(parameters.get("channel_mean", 0))
        std = np.array(parameters.get("channel_std", 1))

        def scaled(pixels):
            return ((low + (high - low) * (pixels / 255)) - mean) / std

        editor.set_params(**parameters)
        edits = editor(scaled(images).astype(dtype), ROWS, LABELS)
        seen, pixels = expected
        assert torch.equal(torch.cat([call["image"] for call in calls]), seen)
        assert edits.dtype == dtype
        # float16 has 11 bits, of which a standardised pixel's sign and size take some.
        atol = 255 * 4e-3 if dtype == np.float16 else 1e-4
        np.testing.assert_allclose(edits, scaled(pixels), rtol=0, atol=atol)

    def test_integers_of_any_width_are_pixels(self, editor, images, expected):
        edits = editor(images.astype(np.int64), ROWS, LABELS)
        assert edits.dtype == np.int64
        np.testing.assert_array_equal(edits, expected[1])

    def test_integers_of_another_range_come_back_rounded(
        self, editor, images, expected
    ):
        editor.set_params(value_range=(0, 2550))
        edits = editor(images.astype(np.int32) * 10, ROWS, LABELS)
        np.testing.assert_array_equal(edits, 10 * expected[1].astype(int))

    @pytest.mark.parametrize("axis", [False, True])
    def test_grey_images_have_edits_in_grey(self, editor, images, axis):
        X = grey(images)
        in_colour = editor(np.stack([X] * 3, axis=-1), ROWS, LABELS)
        edits = editor(X[..., None] if axis else X, ROWS, LABELS)
        assert edits.shape == ((5, 12, 10, 1) if axis else (5, 12, 10))
        # Rounded once in place of twice.
        assert distance(edits.reshape(5, 12, 10), grey(in_colour)) <= 1

    def test_a_hair_outside_is_black_or_white(self, editor, images):
        X = images / 255
        edits = editor(X, [0], ["cat"])
        X = np.where(X == 0, -1e-3, np.where(X == 1, 1 + 1e-3, X))
        assert X.min() < 0 < 1 < X.max()
        np.testing.assert_array_equal(editor(X, [0], ["cat"]), edits)

    @pytest.mark.parametrize(
        "value, parameters, message",
        [
            (1.1, {}, r"row 2 of X has a pixel of value 1\.1, outside \[0, 1\]"),
            (-0.1, {}, "If X was standardised, pass channel_mean"),
            (np.nan, {}, "row 2 of X has a pixel that is NaN"),
            (np.inf, {}, "value inf, outside"),
            (0.9, {"channel_mean": 0.5}, r"value 0\.9 that means 1\.4 by channel_mean"),
            (0.9, {"value_range": (0, 0.8)}, r"outside \[0, 0\.8\]"),
        ],
    )
    def test_values_outside_are_refused_by_their_row(
        self, editor, unloadable, value, parameters, message
    ):
        X = np.zeros((4, 12, 10, 3))
        X[2, 5, 3, 1] = value
        X[3] = np.nan
        editor.set_params(**parameters)
        with pytest.raises(ValueError, match=message):
            editor(X, [0, 3, 2], ["cat"] * 3)

    def test_values_of_rows_that_nobody_edits_do_not_matter(self, editor, images):
        X = images / 255
        X[4] = np.nan
        assert len(editor(X, [0], ["cat"])) == 1


class TestCache:
    def test_second_call_computes_and_loads_nothing(
        self, cached, images, calls, monkeypatch
    ):
        expected = clone(cached).set_params(cache_dir=None)(images, ROWS, LABELS)
        first = cached(images, ROWS, LABELS)
        calls.clear()
        monkeypatch.setattr(editing, "load_pipeline", None)
        second = clone(cached)(images, ROWS, LABELS)
        np.testing.assert_array_equal(first, expected)
        np.testing.assert_array_equal(second, expected)
        assert not calls

    @pytest.mark.parametrize("dtype", [np.uint8, np.float32])
    def test_other_order_subset_and_scale_are_found(
        self, cached, images, monkeypatch, dtype
    ):
        edits = cached(images, ROWS, LABELS)
        monkeypatch.setattr(editing, "load_pipeline", None)
        X = images[::-1] if dtype == np.uint8 else (images[::-1] / 255).astype(dtype)
        again = clone(cached)(X, [2, 4, 4], ["dog", "dog", "cat"])
        scale = 1 if dtype == np.uint8 else 255
        np.testing.assert_allclose(again * scale, edits[[3, 1, 0]], atol=1e-4)

    @pytest.mark.parametrize(
        "change",
        [
            {"guidance_scale": 4.0},
            {"image_guidance_scale": 2.0},
            {"n_steps": 3},
            {"image_size": 24},
            {"random_state": 1},
            {"precision": "bfloat16"},
            {"class_prompts": {"cat": "a cat"}},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_other_edits_are_kept_apart(self, cached, images, calls, change):
        before = cached(images, [0], ["cat"])
        other = clone(cached).set_params(**change)
        after = other(images, [0], ["cat"])
        assert len(calls) == 2
        expected = other.set_params(cache_dir=None)(images, [0], ["cat"])
        np.testing.assert_array_equal(after, expected)
        assert not np.array_equal(before, after)

    def test_another_image_misses(self, cached, images, calls):
        cached(images, [0], ["cat"])
        X = images.copy()
        X[0, 3, 4, 1] ^= 1
        cached(X, [0], ["cat"])
        assert len(calls) == 2

    def test_another_form_of_the_images_misses(self, cached, images, calls):
        X = grey(images)
        cached(X, [0], ["cat"])
        assert cached(np.stack([X] * 3, -1), [0], ["cat"]).shape == (1, 12, 10, 3)
        assert cached(X[:, :6], [0], ["cat"]).shape == (1, 6, 10)
        assert len(calls) == 3

    def test_other_weights_miss(self, cached, images, folder, tmp_path, calls):
        cached(images, [0], ["cat"])
        other = tmp_path / "other"
        shutil.copytree(folder, other)
        path = other / "unet" / "diffusion_pytorch_model.safetensors"
        weights = load_file(path)
        weights["conv_out.bias"] += 1
        save_file(weights, path, metadata={"format": "pt"})
        cached.set_params(model=other)(images, [0], ["cat"])
        assert len(calls) == 2

    def test_weights_and_not_the_folder_decide(
        self, cached, images, folder, tmp_path, calls
    ):
        cached(images, [0], ["cat"])
        shutil.copytree(folder, tmp_path / "moved")
        cached.set_params(model=tmp_path / "moved")(images, [0], ["cat"])
        assert len(calls) == 1

    def test_interrupted_work_is_kept(self, cached, images, calls, monkeypatch):
        cached.set_params(batch_size=1)
        edit = Pipeline.edit

        def limited(*args):
            if len(calls) == 3:
                raise KeyboardInterrupt
            return edit(*args)

        monkeypatch.setattr(Pipeline, "edit", limited)
        with pytest.raises(KeyboardInterrupt):
            cached(images, ROWS, LABELS)
        monkeypatch.setattr(Pipeline, "edit", edit)
        calls.clear()
        edits = cached(images, ROWS, LABELS)
        assert edited_prompts(calls) == LABELS[3:]
        expected = clone(cached).set_params(cache_dir=None)(images, ROWS, LABELS)
        np.testing.assert_array_equal(edits, expected)

    def test_killed_run_goes_on_and_ends_alike(self, cached, folder, tmp_path, calls):
        n = 24
        X = np.random.default_rng(1).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
        np.save(tmp_path / "images.npy", X)
        words = [sys.executable, "-c", SCRIPT, folder, cached.cache_dir]
        words = [str(word) for word in [*words, tmp_path / "images.npy"]]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}

        def shards():
            return sorted(cached.cache_dir.rglob("*.safetensors"))

        with subprocess.Popen(words, env=environment) as process:
            while process.poll() is None and len(shards()) < 3:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        n_kept = sum(len(load_file(shard)["keys"]) for shard in shards())
        assert 6 <= n_kept < n
        cached.set_params(batch_size=2)
        rows, labels = np.arange(n), ["cat"] * n
        edits = cached(X, rows, labels)
        assert len(edited_prompts(calls)) == n - n_kept
        expected = clone(cached).set_params(cache_dir=None)(X, rows, labels)
        np.testing.assert_array_equal(edits, expected)

    def test_damaged_shard_is_made_again(self, cached, images):
        expected = cached(images, ROWS, LABELS)
        shard = next(cached.cache_dir.rglob("*.safetensors"))
        shard.write_bytes(shard.read_bytes()[:-1])
        with pytest.warns(UserWarning, match="was damaged"):
            again = cached(images, ROWS, LABELS)
        np.testing.assert_array_equal(again, expected)

    def test_damage_that_only_reading_shows_is_mended(self, cached, images):
        expected = cached(images, ROWS, LABELS)
        shard = next(cached.cache_dir.rglob("*.safetensors"))
        content = bytearray(shard.read_bytes())
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        content[8 + length + header["features"]["data_offsets"][0]] ^= 1
        shard.write_bytes(content)
        with pytest.warns(UserWarning, match="was damaged"):
            again = cached(images, ROWS, LABELS)
        np.testing.assert_array_equal(again, expected)

    def test_pictures_are_kept_in_8_bits(self, cached, images):
        cached(images / 255, ROWS, LABELS)
        for shard in cached.cache_dir.rglob("*.safetensors"):
            assert load_file(shard)["features"].dtype == torch.uint8

    def test_folder_that_cannot_be_used_is_refused(
        self, cached, images, tmp_path, unloadable
    ):
        (tmp_path / "file").write_text("")
        cached.set_params(cache_dir=tmp_path / "file")
        with pytest.raises(OSError, match="a folder that you may write to"):
            cached(images, [0], ["cat"])


class TestRun:
    KEYS = tuple(bytes([i]) * 16 for i in range(5))

    @staticmethod
    def forecast(n=5):
        from tqdm import tqdm

        return Forecast(tqdm(total=n, disable=True), n)

    @staticmethod
    def edit(keys):
        return np.array([[key[0], 7] for key in keys], dtype=np.float32)

    def test_only_what_is_lacking_is_made(self):
        made = []
        with MemoryStore() as store:
            store.put(self.KEYS[1:2], self.edit(self.KEYS[1:2]))
            complete(
                store,
                self.KEYS,
                lambda keys: made.extend(keys) or self.edit(keys),
                2,
                self.forecast(),
            )
            np.testing.assert_array_equal(store.read(self.KEYS)[:, 0], range(5))
        assert made == [self.KEYS[i] for i in (0, 2, 3, 4)]

    def test_each_block_is_written_when_it_is_made(self, tmp_path):
        kept = []

        def edit(keys):
            kept.append(len(list(tmp_path.glob("*.safetensors"))))
            return self.edit(keys)

        with FeatureStore(tmp_path, np.uint8) as store:
            complete(store, self.KEYS, edit, 2, self.forecast())
        assert kept == [0, 1, 2]

    def test_what_another_writer_makes_is_waited_for(self, tmp_path):
        claimed, begun, made = threading.Event(), threading.Event(), []

        def other():
            with FeatureStore(tmp_path, np.uint8) as store:
                store.claim(self.KEYS[:2])
                claimed.set()
                begun.wait(10)
                time.sleep(0.3)
                store.put(self.KEYS[:2], self.edit(self.KEYS[:2]))

        def edit(keys):
            made.extend(keys)
            begun.set()
            return self.edit(keys)

        bar = Bar()
        thread = threading.Thread(target=other)
        thread.start()
        assert claimed.wait(10)
        with FeatureStore(tmp_path, np.uint8) as store:
            complete(store, self.KEYS, edit, 2, Forecast(bar, 5))
            np.testing.assert_array_equal(store.read(self.KEYS)[:, 0], range(5))
        thread.join()
        assert made == list(self.KEYS[2:])
        assert bar.n == 5


class TestForecast:
    def test_time_of_all_is_logged_after_the_first_block(self, caplog):
        bar = Bar()
        forecast = Forecast(bar, 100)
        with caplog.at_level(logging.INFO, "sklabeldiff"):
            forecast.done(8, 60.0, 8)
            forecast.done(8, 600.0, 8)
        # 13 blocks of a minute, the last one filled up.
        assert caplog.messages == ["100 edits will take about 13 minutes"]
        assert bar.text == "about 13 minutes in all"
        assert bar.n == 16

    def test_a_single_block_has_none(self, caplog):
        bar = Bar()
        with caplog.at_level(logging.INFO, "sklabeldiff"):
            Forecast(bar, 8).done(8, 60.0, 8)
        assert caplog.messages == []
        assert bar.text is None

    def test_counts_what_others_make(self):
        bar = Bar()
        forecast = Forecast(bar, 10)
        forecast.done(2, 1.0, 2)
        forecast.remaining(5)
        assert bar.n == 5

    def test_comes_with_the_edits(self, editor, images, caplog):
        with caplog.at_level(logging.INFO, "sklabeldiff"):
            editor(images, ROWS, LABELS)
        assert [m for m in caplog.messages if m.startswith("5 edits will take about")]

    def test_stderr_is_silent_unless_verbose(self, editor, images, capfd):
        editor(images, ROWS, LABELS)
        assert capfd.readouterr() == ("", "")
        editor.set_params(verbose=1)(images, ROWS, LABELS)
        out, err = capfd.readouterr()
        assert out == ""
        assert "DiffusionEditor: 100%" in err
        assert "5/5" in err
        assert "in all" in err

    @pytest.mark.parametrize(
        "seconds, words",
        [(5, "5 s"), (119, "119 s"), (120, "2 minutes"), (9e3, "2 hours")],
    )
    def test_times_are_told_in_a_unit_that_suits(self, seconds, words):
        assert in_words(seconds) == words

    def test_paper_s_model_takes_6e12_operations(self):
        found = edit_operations(859_520_964, Settings(5.0, 1.5, 10, 256))
        assert found == pytest.approx(6e12, rel=0.05)

    def test_hours_on_a_cpu_bring_a_warning(self, editor, images, monkeypatch, calls):
        monkeypatch.setattr(_editing_pipeline, "OPERATIONS_PER_SECOND", 1e3)
        seconds = 5 * edit_operations(9420, editor._settings()) / 1e3
        assert seconds < editing.LONG_SECONDS
        editor(images, ROWS, LABELS)
        monkeypatch.setattr(_editing_pipeline, "OPERATIONS_PER_SECOND", 1e-1)
        with pytest.warns(UserWarning, match=r"5 edits.* hours on.*pass cache_dir"):
            editor(images, ROWS, LABELS)

    def test_hours_on_a_cpu_bring_no_talk_of_a_cache_that_there_is(
        self, cached, images, monkeypatch
    ):
        monkeypatch.setattr(_editing_pipeline, "OPERATIONS_PER_SECOND", 1e-1)
        with pytest.warns(UserWarning, match="what is done stays in cache_dir"):
            cached(images, ROWS, LABELS)


class Bar:
    """Stands in for a progress bar."""

    n, text = 0, None

    def update(self, n):
        self.n += n

    def set_postfix_str(self, text):
        self.text = text


class TestLoading:
    def test_nothing_is_loaded_before_the_first_edit(self, folder, loads):
        editor = clone(DiffusionEditor(folder))
        assert "DiffusionEditor" in repr(editor)
        assert "DiffusionEditor" in editor._repr_html_()
        assert editor.set_params(n_steps=2).get_params()["n_steps"] == 2
        assert loads == []

    def test_parameters_are_stored_as_they_are(self):
        prompts, mean = {0: "a cat"}, [0.5]
        editor = DiffusionEditor(class_prompts=prompts, channel_mean=mean)
        assert editor.class_prompts is prompts
        assert editor.channel_mean is mean

    def test_model_is_kept_between_calls(self, editor, images, loads):
        editor(images, [0], ["cat"])
        editor.set_params(n_steps=3)(images, [1], ["cat"])
        assert len(loads) == 1
        editor.set_params(precision="bfloat16")(images, [1], ["cat"])
        assert len(loads) == 2

    def test_released_model_is_loaded_again(self, editor, images, loads):
        edits = editor(images, [0], ["cat"])
        editor.release()
        assert editor._loaded is None
        np.testing.assert_array_equal(editor(images, [0], ["cat"]), edits)
        assert len(loads) == 2

    def test_precision_is_that_of_all_networks(self, editor, images):
        editor.set_params(precision="bfloat16")(images, [0], ["cat"])
        pipe = editor._loaded[1].pipe
        kinds = {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype}
        assert kinds == {torch.bfloat16}

    @pytest.mark.parametrize(
        "copied",
        [clone, copy.deepcopy, copy.copy, lambda e: pickle.loads(pickle.dumps(e))],
        ids=["clone", "deepcopy", "copy", "pickle"],
    )
    def test_copies_carry_no_weights(self, editor, images, copied):
        edits = editor(images, [0], ["cat"])
        other = copied(editor)
        assert other._loaded is None
        assert editor._loaded is not None
        assert len(pickle.dumps(editor)) < 1000  # the tiny model alone has 100 kB
        np.testing.assert_array_equal(other(images, [0], ["cat"]), edits)

    def test_global_random_states_are_left_alone(self, editor, images):
        import random

        def states():
            numpy = np.random.get_state()[1].tolist()  # noqa: NPY002
            return torch.get_rng_state().tolist(), numpy, random.getstate()

        before = states()
        editor(images, ROWS, LABELS)
        assert states() == before

    def test_random_state_is_set_back_where_loading_draws(
        self, editor, images, monkeypatch
    ):
        part = _editing_pipeline._part

        def drawing(*args):
            torch.rand(3)
            return part(*args)

        monkeypatch.setattr(_editing_pipeline, "_part", drawing)
        before = torch.get_rng_state()
        editor(images, [0], ["cat"])
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("module", ["diffusers", "transformers", "PIL.Image"])
    def test_missing_dependency_names_the_extra(
        self, editor, images, monkeypatch, module
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=r'pip install "sklabeldiff\[images\]"'):
            editor(images, [0], ["cat"])

    def test_unknown_model_is_refused_with_a_remedy(self, editor, images, tmp_path):
        editor.set_params(model=tmp_path / "nowhere")
        with pytest.raises(
            OSError, match=r"nowhere' cannot be loaded.*pass its folder"
        ):
            editor(images, [0], ["cat"])
        editor.set_params(cache_dir=tmp_path / "cache")
        with pytest.raises(
            OSError, match=r"nowhere' cannot be loaded.*pass its folder"
        ):
            editor(images, [0], ["cat"])

    @pytest.mark.parametrize(
        "part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"]
    )
    def test_model_without_one_of_its_parts_is_refused(
        self, editor, images, folder, tmp_path, part
    ):
        shutil.copytree(folder, tmp_path / "model")
        shutil.rmtree(tmp_path / "model" / part)
        editor.set_params(model=tmp_path / "model")
        with pytest.raises(OSError, match=r"InstructPix2Pix model.* cannot be loaded"):
            editor(images, [0], ["cat"])

    @pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
    def test_model_that_lacks_weights_is_refused(
        self, editor, images, folder, tmp_path, part
    ):
        shutil.copytree(folder, tmp_path / "model")
        (path,) = (tmp_path / "model" / part).glob("*.safetensors")
        weights = load_file(path)
        lost = min(weights)
        del weights[lost]
        save_file(weights, path, metadata={"format": "pt"})
        editor.set_params(model=tmp_path / "model")
        with pytest.raises(ValueError, match=f"lacks weights.*'{part}'.*{lost}"):
            editor(images, [0], ["cat"])

    def test_model_with_the_names_of_2023_is_the_same(
        self, editor, images, folder, tmp_path
    ):
        # So the published model's weights are named.
        edits = editor(images, [0], ["cat"])
        shutil.copytree(folder, tmp_path / "model")
        path = tmp_path / "model" / "vae" / "diffusion_pytorch_model.safetensors"
        old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        weights = {}
        for name, weight in load_file(path).items():
            for new, before in old.items():
                name = name.replace(f"attentions.0.{new}", f"attentions.0.{before}")
            weights[name] = weight
        assert any("proj_attn" in name for name in weights)
        save_file(weights, path, metadata={"format": "pt"})
        path = tmp_path / "model" / "text_encoder" / "model.safetensors"
        weights = {
            f"text_model.{name.removeprefix('text_model.')}": weight
            for name, weight in load_file(path).items()
        }
        weights["text_model.embeddings.position_ids"] = torch.arange(TOKENS)[None]
        save_file(weights, path, metadata={"format": "pt"})
        editor.set_params(model=tmp_path / "model")
        np.testing.assert_array_equal(editor(images, [0], ["cat"]), edits)

    def test_other_models_are_refused(self, editor, images, folder, tmp_path):
        shutil.copytree(folder, tmp_path / "model")
        unet = tmp_path / "model" / "unet"
        config = json.loads((unet / "config.json").read_text())
        (unet / "config.json").write_text(json.dumps(config | {"in_channels": 4}))
        path = unet / "diffusion_pytorch_model.safetensors"
        weights = load_file(path)
        weights["conv_in.weight"] = weights["conv_in.weight"][:, :4].contiguous()
        save_file(weights, path, metadata={"format": "pt"})
        editor.set_params(model=tmp_path / "model")
        with pytest.raises(ValueError, match="takes 4 channels, not 8"):
            editor(images, [0], ["cat"])


class TestErrors:
    @pytest.mark.parametrize(
        "parameters, kind, message",
        [
            ({"guidance_scale": 0.5}, ValueError, "guidance_scale must be at least 1"),
            ({"image_guidance_scale": 0.9}, ValueError, "image_guidance_scale must be"),
            ({"n_steps": 0}, ValueError, "n_steps must be at least 1"),
            ({"n_steps": 2.5}, TypeError, "n_steps must be an integer"),
            ({"image_size": 20}, ValueError, "a multiple of 8, got 20"),
            ({"image_size": 0}, ValueError, "image_size must be at least 8"),
            ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
            ({"random_state": None}, TypeError, "random_state must be an integer"),
            ({"random_state": -1}, ValueError, "random_state must be at least 0"),
            ({"class_prompts": ["cat"]}, TypeError, "a dict from label to text"),
            ({"value_range": (1, 0)}, ValueError, r"value_range=\(1, 0\)"),
            ({"precision": "float8"}, ValueError, "precision must be one of"),
            ({"device": "nowhere"}, ValueError, "device='nowhere' cannot be used"),
            ({"channel_mean": [0.1, 0.2]}, ValueError, "one for each of the 3"),
            ({"channel_mean": "a"}, ValueError, "channel_mean='a': give one number"),
            ({"channel_mean": np.nan}, ValueError, "channel_mean=nan"),
            ({"channel_std": [0.1, 0, 1]}, ValueError, "channel_std must be above 0"),
        ],
        ids=lambda value: str(value) if isinstance(value, dict) else "",
    )
    def test_parameters_are_checked(
        self, editor, images, unloadable, parameters, kind, message
    ):
        editor.set_params(**parameters)
        with pytest.raises(kind, match=message):
            editor(images / 255, [0], ["cat"])

    @pytest.mark.parametrize(
        "X, kind, message",
        [
            ([[[0]]], TypeError, "numpy array of images, got list"),
            (torch.zeros(2, 8, 8), TypeError, "got Tensor"),
            (np.zeros((2, 64)), ValueError, r"shape \(2, 64\).*X.reshape"),
            (np.zeros((2, 3, 8, 8)), ValueError, "the channels last"),
            (np.zeros((2, 8, 8, 2)), ValueError, "1 or 3 channels"),
            (np.zeros((2, 0, 8)), ValueError, "no pixel"),
            (np.zeros((2, 8, 8), bool), ValueError, "dtype bool"),
            (np.zeros((2, 8, 8), complex), ValueError, "dtype complex128"),
            (np.zeros((2, 8, 8), object), ValueError, "dtype object"),
        ],
    )
    def test_other_images_are_refused(self, editor, unloadable, X, kind, message):
        with pytest.raises(kind, match=message):
            editor(X, [0], ["cat"])

    @pytest.mark.parametrize(
        "rows, labels, kind, message",
        [
            ([0, 5], ["cat"] * 2, ValueError, r"rows\[1\] is 5.*rows 0 to 4"),
            ([-1], ["cat"], ValueError, r"rows\[0\] is -1"),
            ([0.0], ["cat"], TypeError, "integers.*float64"),
            ([True], ["cat"], TypeError, "np.flatnonzero"),
            ([[0]], ["cat"], ValueError, r"shape \(1, 1\)"),
            ([0, 1], ["cat"], ValueError, "2 rows and 1 labels"),
        ],
    )
    def test_other_pairs_are_refused(
        self, editor, images, unloadable, rows, labels, kind, message
    ):
        with pytest.raises(kind, match=message):
            editor(images, rows, labels)

    def test_integers_are_not_standardised(self, editor, images, unloadable):
        editor.set_params(channel_mean=0.5)
        with pytest.raises(ValueError, match="dtype uint8, and integers are not"):
            editor(images, [0], ["cat"])
