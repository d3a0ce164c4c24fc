"""Summary printed after a run: its main tables with the meaning of each number, what they show, and paths of files."""

from rich.console import Console

from nrf_ray.display.printing import print_results
from nrf_ray.graph.store import Store, place_of
from nrf_ray.stages.import_weights import import_weights
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.sweep.table import Frames
from nrf_ray.tables.registry import result_tables, sentences


def print_summary(console: Console, sweep: Sweep, store: Store, tables: Frames) -> None:
    """Print the main tables, the meaning of each number, what they show, and the paths of the files."""
    print_results(console, result_tables(tables))
    for text in sentences(tables):
        console.print(f"- {text}")
    _print_places(console, sweep, store, tables)


def doubts(sweep: Sweep, store: Store) -> list[str]:
    """Return a line for each model from elsewhere whose accuracy is poor: what to look at before believing the rest."""
    models = [stage for stage in sweep.stages() if stage.kind is import_weights]
    records = store.at_once(store.record, map(place_of, models))
    told = ((stage, record.metrics.get("doubt")) for stage, record in zip(models, records, strict=True) if record)
    return [f"warning: {stage.title}: {doubt}" for stage, doubt in told if doubt]


def _print_places(console: Console, sweep: Sweep, store: Store, tables: Frames) -> None:
    console.print(f"tables       {store.path_of(sweep.folder())}/{{{','.join(tables)}}}.parquet", soft_wrap=True)
    console.print(f"report       {store.path_of(sweep.folder())}/report.html", soft_wrap=True)
    for name in sweep.pictures(store):
        console.print(f"picture      {store.path_of(sweep.folder())}/{name}", soft_wrap=True)
    if store.blobs.root:
        folder = store.path_of(f"{sweep.folder()}/tensorboard")
        console.print(f"tensorboard  tensorboard --logdir {folder}", soft_wrap=True)
    console.print(
        f"Ray Tune     ray.tune.ExperimentAnalysis({store.path_of(sweep.folder()) + '/tune'!r})", soft_wrap=True
    )
    console.print("look inside  nrf status | nrf show KEY | nrf why KEY | nrf verify  (with --store)", soft_wrap=True)
    console.print("dashboard    Ray's, while a run lasts: add --dashboard to the command", soft_wrap=True)
