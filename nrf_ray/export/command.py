"""The commands that write what a store holds for other people: one constructed set, or one sweep."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from nrf_ray.display.printing import make_console
from nrf_ray.errors import ConfigError, lookup
from nrf_ray.results.stored_sweep import KeptSweep, StoreUri, committed, find_place, find_sweep, open_store


def export(
    key: str, destination: Path, *, format: str = "tensors", croissant: bool = False, store: StoreUri = "./runs"
) -> None:
    """Write the constructed set whose key begins with KEY to the new folder DESTINATION, with a datasheet.

    --format tensors is the form in which the paper's sets were released, folder is PNG files, hf is parquet for
    Hugging Face's datasets. With --croissant, Croissant metadata lie beside it (extra `export`).

        nrf export 3f9a runs-export --format hf --croissant
    """
    from nrf_ray.export.sets import export_set

    opened = open_store(store)
    record = committed(opened, find_place(opened, key))
    count = export_set(opened, record, destination, format, croissant=croissant)
    make_console().print(f"{count} images written to {destination}", soft_wrap=True)


def export_sweep(
    sweep: str, destination: Path, *, format: str = "rocrate", workflow: Path | None = None, store: StoreUri = "./runs"
) -> None:
    """Write what the store tells of the sweep SWEEP to the new folder DESTINATION.

    --format rocrate is a Provenance Run RO-Crate (extra `export`): the sweep file, the tables, and the record of every
    stage with what it used, made and took. The sweep file is sweeps/SWEEP.py, or --workflow. Records name machines and
    Ray's addresses; read one with `nrf show KEY` before you publish.

    --format latex and markdown are the tables of results: mean and 95% interval over seeds, with n.

        nrf export-sweep transfer_grid crate
        nrf export-sweep transfer_grid tables --format latex
    """
    from nrf_ray.export.crate import write_crate
    from nrf_ray.export.results import write_latex, write_markdown

    forms: dict[str, Callable[[KeptSweep, Path], str]] = {
        "rocrate": partial(write_crate, workflow=workflow or Path("sweeps") / f"{sweep}.py"),
        "latex": write_latex,
        "markdown": write_markdown,
    }
    write = lookup(forms, format, "export format of a sweep")
    if workflow is not None and format != "rocrate":
        raise ConfigError(f"--format {format} has no use for --workflow; leave it out")
    written = write(find_sweep(open_store(store), sweep), destination)
    make_console().print(f"{written} written to {destination}", soft_wrap=True)
