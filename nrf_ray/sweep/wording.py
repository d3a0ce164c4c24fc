"""Wording of training sets, trainings and balls, in tables and on pages."""

from typing import TYPE_CHECKING, Any

from nrf_ray.constructions.spec import CONSTRUCTIONS, ORIGINAL
from nrf_ray.display.printing import SetKind, SetName

if TYPE_CHECKING:
    import pandas as pd

ORIGIN = ["construction", "norm", "epsilon", "start", "source_training", "storage", "craft_mode"]
"""Columns that say how a training set was made."""


def origin_text(construction: Any, start: Any, source_training: Any, storage: Any, craft_mode: Any) -> str:
    """Return the wording of a training set, as in "d_det of robust source" or "d_robust from noise, made fast"."""
    made = CONSTRUCTIONS.get(construction)
    by_its_nature = made is not None and made.source_training == "adversarial"
    robust_source = source_training == "adversarial" and not by_its_nature
    text = f"{construction} of robust source" if robust_source else construction
    text = f"{text} from {start}" if isinstance(start, str) else text
    text = f"{text}, {storage}" if storage == "float32" else text
    return f"{text}, made fast" if craft_mode == "fast" else text


def set_name(construction: Any, *how: Any, mode: Any = "faithful") -> SetName:
    """Return the name of a training set with its kind; `how` as in `origin_text`, `mode` as in `mode_text`."""
    made = CONSTRUCTIONS.get(construction)
    kind: SetKind = "original" if construction == ORIGINAL else "constructed"
    if made is not None and made.features == "pattern":
        kind = "control"
    return SetName(origin_text(construction, *how) + mode_text(mode), kind)


def trained_on(role: Any, training: Any, mode: Any, construction: Any, *how: Any) -> SetName:
    """Return the name of a model's training set, as in "d_det of robust source" or "d (robust source)".

    `how` as in `origin_text`. Every judge is adversarially trained, so its name does not say it.
    """
    if role == "student":
        return set_name(construction, *how, mode=mode)
    robust = "robust " if training == "adversarial" and role != "judge" else ""
    return SetName(f"{ORIGINAL} ({robust}{role}){mode_text(mode)}", "original")


def mode_text(mode: Any) -> str:
    """Return how a network was trained, to append to its name; empty for the faithful mode."""
    return {"faithful": "", "fast": ", trained fast"}.get(mode, ", imported")


def ball_text(norm: Any, epsilon: Any) -> str:
    """Return norm and radius of a ball; empty if there is no ball."""
    return f"{norm} {epsilon:g}" if isinstance(norm, str) else ""


def modes_text(modes: "pd.Series[str]") -> str:
    """Return the modes in which some rows were computed, as in "Mode: faithful."."""
    return f"Mode: {', '.join(sorted(modes.dropna().unique())) or 'none'}."
