"""From records to tables, and from tables to what is printed after a run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table as Grille
from scipy import stats

from nrf_ray.errors import CorruptArtifact
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.store import Store
from nrf_ray.parquet import to_arrow, write_table
from nrf_ray.sweep import Sweep
from nrf_ray.tables import DATASETS, RESULTS, ROBUSTNESS, STAGES, TRANSFER, Table

CONTROLS = {"d_rand": "leak_rand", "d_det": "leak_det", "d_other": "leak_other"}


def write_tables(sweep: Sweep, store: Store, errors: Mapping[Key, str]) -> dict[str, pd.DataFrame]:
    """Write every table of `sweep` from the records in `store`, and return them by name."""
    rows: dict[Table, list[dict[str, Any]]] = {**sweep.collect(store), STAGES: stage_rows(sweep, store, errors)}
    frames = {}
    for table, filled in rows.items():
        write_table(store.blobs, table_name(sweep, table), table, filled)
        frames[table.name] = to_arrow(table, filled).to_pandas()
    return frames


def table_name(sweep: Sweep, table: Table) -> str:
    """Return the blob name of a table of `sweep`."""
    return f"{sweep.folder()}/{table.name}.parquet"


def stage_rows(sweep: Sweep, store: Store, errors: Mapping[Key, str]) -> list[dict[str, Any]]:
    """Return the rows of `stages.parquet`: how each stage of `sweep` stands, and what it took."""
    rows = []
    for stage in sweep.stages():
        try:
            record = store.artifact(stage).record if store.has(stage) else None
            reason = errors.get(stage.key)
        except CorruptArtifact as error:
            record, reason = None, str(error)
        row: dict[str, Any] = {"sweep": sweep.name, "stage": stage.kind.name, "label": stage.title, "key": stage.key}
        if record is not None:
            provenance = record.provenance
            row |= {"state": "done", "reason": None, "seconds": record.seconds}
            row |= {name: provenance[name] for name in ("started", "device", "threads", "host")}
        else:
            row |= {"state": "missing" if reason is None else "failed", "reason": reason, "seconds": None}
            row |= dict.fromkeys(("started", "device", "threads", "host"))
        rows.append(row)
    return rows


def print_summary(console: Console, sweep: Sweep, store: Store, tables: Mapping[str, pd.DataFrame]) -> None:
    """Print what the tables show, what each number is, and where the files lie."""
    for table, show in ((RESULTS, _results), (DATASETS, _datasets), (ROBUSTNESS, _robustness), (TRANSFER, _transfer)):
        frame = tables.get(table.name)
        if frame is not None and len(frame):
            show(console, frame, tables)
    console.print(f"tables      {store.path_of(sweep.folder())}/{{{','.join(tables)}}}.parquet")
    if store.blobs.root:
        console.print(f"curves      tensorboard --logdir {store.path_of(sweep.folder() + '/tensorboard')}")
    console.print("look inside nrf status | nrf show KEY | nrf why KEY | nrf verify")
    console.print(
        "dashboard   RAY_AUTH_MODE=token ray start --head, then run the sweep with --address auto and an absolute "
        "--store: http://127.0.0.1:8265"
    )


def mean_ci(values: "pd.Series[float]") -> str:
    """Return mean and 95% t interval over `values` (one per seed) as text; a single value stands alone."""
    mean, n = float(values.mean()), len(values)
    if n < 2:
        return f"{mean:.3f}"
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return f"{mean:.3f} ± {half:.3f}"


def seed_means(frame: pd.DataFrame, column: str) -> "pd.Series[float]":
    """Return the mean of `column` for each seed, over whatever else varies."""
    return frame.groupby("seed")[column].mean()


def _grille(title: str, *columns: str) -> Grille:
    grille = Grille(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        grille.add_column(column, justify="left" if index < 3 else "right", no_wrap=True)
    return grille


def _results(console: Console, results: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> None:
    grille = _grille(
        "accuracy on the untouched test set",
        "trained on",
        "eps",
        "models",
        "clean (x, y)",
        "relabelled (x, y+1)",
        "lowest",
        "highest",
        "minus control",
    )
    keys = ["role", "dataset", "construction", "norm", "epsilon"]
    for (role, dataset, construction, norm, epsilon), cells in results.groupby(keys, dropna=False):
        trained_on = f"{construction} ({dataset})" if role == "student" else f"{dataset}, {role}"
        archs, seeds = cells["student_arch"].nunique(), cells["seed"].nunique()
        grille.add_row(
            trained_on,
            "" if construction == "d" else f"{norm} {epsilon:g}",
            f"{archs} archs x {seeds} seeds",
            mean_ci(seed_means(cells, "clean_accuracy")),
            mean_ci(seed_means(cells, "relabelled_accuracy")),
            f"{cells['clean_accuracy'].min():.3f}",
            f"{cells['clean_accuracy'].max():.3f}",
            _minus_control(results, cells, str(construction)),
        )
    console.print(grille)
    console.print(
        "mean over architectures, then mean ± 95% t interval over seeds; lowest and highest single model. leak_...: "
        "control sets without\nany adversarial feature. minus control: clean accuracy minus its control's, same "
        "architectures and seeds. Last iterate, nothing selected.\n",
        style="dim",
    )


def _minus_control(results: pd.DataFrame, cells: pd.DataFrame, construction: str) -> str:
    """Return the paired difference between a construction and its control as text; empty where there is none."""
    control = results[results["construction"] == CONTROLS.get(construction)]
    on = ["dataset", "norm", "epsilon", "student_arch", "seed"]
    pairs = cells.merge(control, on=on, suffixes=("", "_control"))
    if pairs.empty:
        return ""
    pairs["difference"] = pairs["clean_accuracy"] - pairs["clean_accuracy_control"]
    return mean_ci(seed_means(pairs, "difference"))


def _datasets(console: Console, datasets: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> None:
    grille = _grille(
        "constructed sets", "set", "eps", "sets", "t = y", "fools source", "judge says y", "judge says t", "mean norm"
    )
    for (dataset, name, norm, epsilon), cells in datasets.groupby(["dataset", "construction", "norm", "epsilon"]):
        columns = ("share_target_is_label", "fooling_rate", "judge_says_label", "judge_says_target", "mean_norm")
        shown = [mean_ci(seed_means(cells, column)) for column in columns]
        grille.add_row(f"{name} ({dataset})", f"{norm} {epsilon:g}", f"{len(cells)}", *shown)
    console.print(grille)
    console.print(
        "shares of rows, mean ± 95% t interval over seeds. The judge is an adversarially trained model: where it says "
        "t, robust content was changed.\n",
        style="dim",
    )


def _robustness(console: Console, robustness: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> None:
    grille = _grille("robust accuracy", "model", "attack", "models", "robust accuracy", "highest", "its 95% Wilson")
    keys = ["dataset", "training", "role", "attack", "norm", "epsilon"]
    for (dataset, training, role, attack, norm, epsilon), cells in robustness.groupby(keys):
        worst = cells.iloc[int(cells["robust_accuracy"].argmax())]
        grille.add_row(
            f"{training}, {role} ({dataset})",
            f"{attack} {norm} {epsilon:g}",
            f"{len(cells)}, n = {worst['n']}",
            mean_ci(seed_means(cells, "robust_accuracy")),
            f"{worst['robust_accuracy']:.3f}",
            f"{worst['ci_low']:.3f} .. {worst['ci_high']:.3f}",
        )
    console.print(grille)
    console.print("upper bounds by one untargeted PGD run from the image (trust level L0), fp32.\n", style="dim")


def _transfer(console: Console, transfer: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> None:
    grille = _grille("transfer of the source's adversarial test images", "victim", "attack", "eps", "success")
    keys = ["victim_arch", "targeted", "norm", "epsilon"]
    for (victim, targeted, norm, epsilon), cells in transfer.groupby(keys):
        kind = "targeted" if targeted else "untargeted"
        grille.add_row(str(victim), kind, f"{norm} {epsilon:g}", mean_ci(seed_means(cells, "success_rate")))
    console.print(grille)
    for line in figure_3(transfer, tables["results"]):
        console.print(line, style="dim")
    console.print()


def figure_3(transfer: pd.DataFrame, results: pd.DataFrame) -> list[str]:
    """Return one line per d_det set and attack: over architectures, does learning from d_det go with being fooled?"""
    learnt = results[results["construction"] == "d_det"]
    lines = []
    for (dataset, norm, epsilon), sets in learnt.groupby(["dataset", "norm", "epsilon"]):
        x = sets.groupby("student_arch")["clean_accuracy"].mean()
        tried = transfer[(transfer["dataset"] == dataset) & (transfer["norm"] == norm)]
        for (targeted, radius), cells in tried.groupby(["targeted", "epsilon"]):
            y = cells.groupby("victim_arch")["success_rate"].mean().reindex(x.index)
            if len(x) < 3 or y.isna().any() or x.std() == 0 or y.std() == 0:
                continue
            r, low, high = correlation(x.to_numpy(), y.to_numpy())
            kind = "targeted" if targeted else "untargeted"
            lines.append(
                f"Figure 3: d_det {norm} {epsilon:g} accuracy against {kind} transfer at {radius:g}: r = {r:.2f} "
                f"[{low:.2f}, {high:.2f}] (means over {sets['seed'].nunique()} seeds, {len(x)} architectures, 95% "
                "percentile bootstrap over architectures; reported, never a gate)"
            )
    return lines


def correlation(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> tuple[float, float, float]:
    """Return Pearson's r of paired values with a 95% percentile bootstrap interval over the pairs.

    Resamples in which all values of a side are equal have no correlation and are left out.
    """
    rng = np.random.default_rng(0)
    picks = rng.integers(len(x), size=(9999, len(x)))
    a, b = x[picks], y[picks]
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    defined = spread > 1e-12
    resampled = (a * b).sum(axis=1)[defined] / spread[defined]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(np.corrcoef(x, y)[0, 1]), float(low), float(high)
