"""What is compared on entangled instances, by name.

One family shares network, views, batches and epochs, so that only what its names say
differs. On vectors two methods with networks of their own stand beside it.
"""

from __future__ import annotations

from typing import Any

from benchmarks.frame import Method
from benchmarks.methods import seeded
from sklabeldiff import CADClassifier, DDMPClassifier
from sklabeldiff.baselines import DIRKClassifier, PRODENClassifier

IMAGE_SHAPE = (28, 28)
IMAGE_EPOCHS = 6
# What DIRK's loss is made of; all else that it shares with CAD is as there.
LOSS_PARAMS = ("beta", "tau", "tau_w")

UNIFORM, PROGRESSIVE = "uniform CE", "PRODEN, same network"
TEACHER = "self-weighted by the teacher"
ADJUSTED, ALIGNED = "confidence adjustment only", "alignment only"
SLOW = "confidence adjustment, slow teacher"
UNGATED, GATED, DIRK = "CAD without gates", "CAD-CAM", "DIRK"
# Kind, cost and parameters; without contrast, no version is made.
PARTS: dict[str, tuple[str, float, dict[str, Any]]] = {
    UNIFORM: ("baseline", 5.0, {"candidate_loss": "uniform", "beta": 0}),
    # Its weights are the student's own answers, not those of a slower teacher.
    PROGRESSIVE: (
        *("baseline", 5.0),
        {"candidate_loss": "progressive", "beta": 0, "momentum": 0},
    ),
    TEACHER: ("ablation", 5.0, {"candidate_loss": "progressive", "beta": 0}),
    ADJUSTED: ("ablation", 5.0, {"beta": 0}),
    SLOW: ("ablation", 5.0, {"beta": 0, "momentum": 0.99}),
    ALIGNED: ("ablation", 20.0, {"candidate_loss": "uniform"}),
    UNGATED: ("ablation", 20.0, {}),
}


def vector_methods() -> list[Method]:
    """List the family with its defaults, and two methods that take no images."""
    return [
        *family(),
        Method("PRODEN", seeded(PRODENClassifier), "baseline", 5.0),
        Method("DDMP", seeded(DDMPClassifier), "ours", 6.0),
    ]


def image_methods() -> list[Method]:
    """List the family for images, with fewer epochs than the default."""
    return family(image_shape=IMAGE_SHAPE, max_epochs=IMAGE_EPOCHS)


def family(**shared: Any) -> list[Method]:
    """CAD, its parts and DIRK with equal settings, some of them given."""
    parts = [
        Method(name, seeded(CADClassifier, augmentation="none", **own, **shared), *rest)
        for name, (*rest, own) in PARTS.items()
    ]
    dirk = seeded(DIRKClassifier, **settings_of_cad() | shared)
    return [
        *parts,
        Method(DIRK, dirk, "baseline", 10.0),
        Method(GATED, seeded(CADClassifier, **shared), "ours", 20.0),
    ]


def settings_of_cad() -> dict[str, Any]:
    """Defaults of CAD for network, views, batches and teacher, as DIRK takes them."""
    cad, left_out = CADClassifier().get_params(), (*LOSS_PARAMS, "random_state")
    taken = DIRKClassifier().get_params()
    return {name: cad[name] for name in taken if name not in left_out}
