"""Names that people read in Ray's dashboard, in `ps` and in `nvidia-smi`.

Ray names an actor once, by its class. A trial's process is warm and runs many stages, so its class names the sweep, and
the title of its process names the stage that it runs now. A pool of Ray Data actors works for one stage, so its class
can name the stage.
"""

from typing import TypeVar

# Ray has no public function to name a process; it resets the title itself when the task is over.
from ray._raylet import setproctitle  # type: ignore[attr-defined]

T = TypeVar("T", bound=type)


def renamed(kind: T, name: str) -> T:
    """Return `kind` as a class with another name, in ASCII since Ray refuses other letters.

    Ray takes a full stop for the end of a module's name and shows only the text after the last full stop, so the name
    gets commas instead.
    """
    shown = name.replace(".", ",").encode("ascii", "replace").decode()
    named: T = type(shown, (kind,), {"__doc__": kind.__doc__})  # type: ignore[assignment]  # it is a subclass of `kind`
    return named


def title_process(text: str) -> None:
    """Show `text` as the command of this process until its task is over."""
    setproctitle(f"ray::{text}")
