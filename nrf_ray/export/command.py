"""`nrf export` and `nrf export-sweep`: write one constructed set, or one sweep, for other people."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from nrf_ray.display.printing import make_console
from nrf_ray.errors import ConfigError, lookup
from nrf_ray.graph.find import committed, find_place, open_store
from nrf_ray.graph.plugin_files import load_named
from nrf_ray.results.stored_sweep import KeptSweep, PluginNames, StoreUri, find_sweep
from nrf_ray.sweep.sweep import sweep_of


def export(
    key: str,
    destination: Path,
    *,
    format: str = "tensors",
    croissant: bool = False,
    plugin: PluginNames = (),
    store: StoreUri = "./runs",
) -> None:
    """Write the constructed set whose key starts with KEY to the new folder DESTINATION, with a datasheet; or a model.

    --format of a set: tensors (the form in which the paper's sets were released), folder (PNG files) or hf (parquet for
    Hugging Face's datasets). With --croissant, also write Croissant metadata (needs the extra `export`).

    --format model: the weights as safetensors, a card (card.json) with recipe and accuracies and, if the architecture
    is torchvision's or timm's, Python that loads the weights without nrf_ray.

        nrf export 3f9a runs-export --format hf --croissant
        nrf export 81c0 my-model --format model
    """
    from nrf_ray.export.model import export_model
    from nrf_ray.export.sets import export_set

    load_named(plugin, store)
    opened = open_store(store)
    record = committed(opened, find_place(opened, key))
    if format == "model":
        if croissant:
            raise ConfigError("--croissant describes sets; leave it out for a model")
        make_console().print(f"{export_model(opened, record, destination)} written to {destination}", soft_wrap=True)
        return
    count = export_set(opened, record, destination, format, croissant=croissant)
    make_console().print(f"{count} images written to {destination}", soft_wrap=True)


def export_sweep(
    sweep: str,
    destination: Path,
    *,
    format: str = "rocrate",
    workflow: Path | None = None,
    plugin: PluginNames = (),
    store: StoreUri = "./runs",
) -> None:
    """Write the sweep SWEEP, with its records or as tables of results, to the new folder DESTINATION.

    --format rocrate: a Provenance Run RO-Crate (needs the extra `export`) with the sweep file, the tables, and the
    record of every stage: its inputs, outputs and duration. The sweep file is SWEEP.py in sweeps/ or in a folder there,
    or that of --workflow. Records contain names of machines and Ray's addresses; read one with `nrf show KEY`
    before you publish.

    --format latex or markdown: the tables of results, with mean and 95% interval over seeds, and n.

        nrf export-sweep transfer_grid crate
        nrf export-sweep transfer_grid tables --format latex
    """
    from nrf_ray.export.crate import write_crate
    from nrf_ray.export.results import write_latex, write_markdown

    forms: dict[str, Callable[[KeptSweep, Path], str]] = {
        "rocrate": partial(write_crate, workflow=workflow or _sweep_file(sweep_of(sweep))),
        "latex": write_latex,
        "markdown": write_markdown,
    }
    write = lookup(forms, format, "export format of a sweep")
    if workflow is not None and format != "rocrate":
        raise ConfigError(f"--format {format} does not use --workflow; leave it out")
    load_named(plugin, store)
    written = write(find_sweep(open_store(store), sweep), destination)
    make_console().print(f"{written} written to {destination}", soft_wrap=True)


def _sweep_file(name: str) -> Path:
    """Return the sweep file `name` in sweeps/ or in a folder there; if there is none, its place in sweeps/ itself."""
    folder = Path("sweeps")
    return next(folder.rglob(f"{name}.py"), folder / f"{name}.py")
