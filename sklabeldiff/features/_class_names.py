"""What CLIP makes of the names of classes: directions, and candidate sets.

Numbers and words only; images are `CLIPFeatures`' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from sklabeldiff._optional import require

from ._transformers import loading

PROMPT = "a photo of a {}."  # the one that CLIP's authors use most


def check_names(
    class_names: Any, text: str | Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Check the names of the classes and the prompts, and list both."""
    if class_names is None:
        raise ValueError(
            "class_names=None: name the classes that images are compared with, for "
            "example CLIPFeatures(class_names=['cat', 'dog'])."
        )
    names = () if isinstance(class_names, str) else tuple(class_names)
    for name in names:
        if not isinstance(name, str):
            raise ValueError(
                f"class_names holds {name!r} of type {type(name).__name__}, not a "
                "name. Give each class as a str, as a caption would have it."
            )
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"class_names={class_names!r}: give two or more different names."
        )
    prompts = (text,) if isinstance(text, str) else tuple(text)
    for prompt in prompts or ("",):
        if "{}" not in prompt:
            raise ValueError(
                f"text={prompt!r}: a prompt holds {{}} where the name of the class "
                f"comes, as in {PROMPT!r}."
            )
    return names, prompts


def check_mass(mass: Any, max_candidates: Any) -> None:
    """Check what limits the size of a set."""
    if not isinstance(mass, Real) or not 0 < float(mass) <= 1:
        raise ValueError(f"mass={mass!r}: give a number above 0 and at most 1.")
    whole = isinstance(max_candidates, Integral) and int(max_candidates) >= 1
    if max_candidates is not None and not whole:
        raise ValueError(
            f"max_candidates={max_candidates!r}: give a whole number of at least 1."
        )


def choose_candidates(
    proba: NDArray[np.float32], mass: float, max_candidates: int | None, *, soft: bool
) -> NDArray[Any]:
    """Choose the most probable classes until their mass is reached. (n, C) -> (n, C).

    bool, or the probabilities of the chosen if `soft`. Every class where they are NaN.
    """
    order = np.argsort(-proba, axis=1, kind="stable")
    ranked = np.take_along_axis(proba, order, axis=1)
    # A class is in as long as those before it do not suffice; the first always.
    inside = np.cumsum(ranked, axis=1, dtype=np.float64) - ranked < mass
    inside[:, 1:] &= ranked[:, 1:] > 0  # rounding may keep the sum below a mass of 1
    if max_candidates is not None:
        inside[:, max_candidates:] = False
    candidates = np.empty_like(inside)
    np.put_along_axis(candidates, order, inside, axis=1)
    unknown = np.isnan(proba[:, 0])
    candidates[unknown] = True
    if not soft:
        return candidates
    weights = np.where(candidates, proba, np.float32(0))
    weights[unknown] = 1 / proba.shape[1]
    return weights


def encode_names(
    model: str, names: tuple[str, ...], prompts: tuple[str, ...]
) -> tuple[NDArray[np.float32], float]:
    """Run the prompts through CLIP's text half. -> (C, d), inverse temperature."""
    transformers = require("transformers")
    with loading(model, "CLIP model", verbose=0):
        check_kind(transformers.AutoConfig.from_pretrained(model), model, ("clip",))
        clip, report = transformers.CLIPModel.from_pretrained(
            model, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    # transformers fills gaps with random numbers and merely logs it.
    if report["missing_keys"]:
        raise ValueError(
            f"model={model!r} lacks weights that the names of classes need: "
            f"{sorted(report['missing_keys'])[0]!r} and perhaps more. Save it again "
            "from CLIPModel."
        )
    clip.eval()
    texts = [prompt.replace("{}", name) for name in names for prompt in prompts]
    length = clip.config.text_config.max_position_embeddings
    tokens = tokenizer(
        texts, padding=True, truncation=True, max_length=length, return_tensors="pt"
    )
    check_tokens(tokens["input_ids"].tolist(), texts, len(prompts), model)
    taken = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        features = clip.get_text_features(**taken)
        features = getattr(features, "pooler_output", features)  # transformers >= 5
        each = normalize(features, dim=-1).reshape(len(names), len(prompts), -1)
        directions = normalize(each.mean(1), dim=-1)
    return directions.numpy(), float(clip.logit_scale.detach().exp())


def check_tokens(
    tokens: list[list[int]], texts: list[str], n_prompts: int, model: str
) -> None:
    """Refuse two classes that one prompt gives the same tokens. (C * n_prompts, l).

    Without a tokenizer's files transformers makes an empty one, and says nothing.
    """
    seen: dict[tuple[int, ...], str] = {}
    for k, text in enumerate(texts):
        # Two prompts of one class may well be the same to CLIP, which ignores case.
        twin = seen.setdefault((k % n_prompts, *tokens[k]), text)
        if twin != text:
            raise ValueError(
                f"The tokenizer of model={model!r} reads {twin!r} and {text!r} as the "
                "same tokens. Save the model's tokenizer in its folder, too, by "
                "AutoTokenizer.from_pretrained(...).save_pretrained(folder); if it is "
                "there, give names that differ by more than their case, in shorter "
                "prompts."
            )


def check_kind(config: Any, name: str, kinds: tuple[str, ...]) -> None:
    """Refuse other networks than CLIP."""
    if config.model_type not in kinds:
        raise ValueError(
            f"model={name!r} is a model of type {config.model_type!r}, not a CLIP "
            f"model. Give a model of type {' or '.join(map(repr, kinds))}."
        )
