"""Wording of training sets, trainings and balls, in tables and on pages."""

from typing import TYPE_CHECKING, Any

from nrf_ray.constructions.spec import CONSTRUCTIONS

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


def mode_text(mode: Any) -> str:
    """Return how a network was trained, to append to its name; empty for the faithful mode."""
    return {"faithful": "", "fast": ", trained fast"}.get(mode, ", imported")


def ball_text(norm: Any, epsilon: Any) -> str:
    """Return norm and radius of a ball; empty if there is no ball."""
    return f"{norm} {epsilon:g}" if isinstance(norm, str) else ""


def modes_text(modes: "pd.Series[str]") -> str:
    """Return the modes in which some rows were computed, as in "Mode: faithful."."""
    return f"Mode: {', '.join(sorted(modes.dropna().unique())) or 'none'}."
