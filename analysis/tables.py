"""Tables of a store for the notebooks: with what they are about, or with the command that makes them.

The store is given by the environment variable NRF_STORE (a folder or a URI). Its default is `runs` beside the folder
`analysis`, the default store of sweeps that are started from there. If a table has several datasets, NRF_DATASET
chooses one; the default is the first by name. A missing table is empty but has its columns, so that a notebook runs to
its end and says what is missing.
"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from nrf_ray.display.printing import interval_text, share_text
from nrf_ray.errors import NrfError
from nrf_ray.graph.store import Store
from nrf_ray.page.elements import drawn
from nrf_ray.results.parquet import read_table, schema, to_arrow
from nrf_ray.sweep.wording import ball_text
from nrf_ray.tables.contrasts import model_text, set_text
from nrf_ray.tables.registry import table_named
from nrf_ray.tables.trained_models import EXTRA

if TYPE_CHECKING:
    from IPython.display import HTML


SWEEPS = Path(__file__).resolve().parents[1] / "sweeps"
"""Folder of the sweep files."""


def store_uri() -> str:
    """Return the store that the notebooks read."""
    return os.environ.get("NRF_STORE") or str(Path(__file__).resolve().parents[1] / "runs")


def store() -> Store:
    """Return the store that the notebooks read; if it does not exist, it is empty."""
    return Store.open(store_uri(), create=False)


def load(sweep: str, table: str, *, one_dataset: bool = True) -> pd.DataFrame:
    """Return a table of a sweep, of one dataset or of all, and print what it is; empty if it is not in the store.

    `attrs` of the frame has `about`, a few words for captions, and `columns`, which maps the names of columns to their
    descriptions and units in the file.
    """
    try:
        found = read_table(store().blobs, f"sweeps/{sweep}/{table}.parquet")
    except (NrfError, OSError, ValueError) as error:
        return _missing(sweep, table, str(error))
    declared = table_named(table)
    if lacking := [name for name in (declared.column_names() if declared else ()) if name not in found.column_names]:
        return _missing(sweep, table, f"the stored table is of another nrf_ray and lacks {', '.join(lacking)}")
    frame: pd.DataFrame = found.to_pandas()
    preset = (found.schema.metadata or {}).get(b"preset", b"").decode()
    named = [f"preset {preset}"] if preset else []
    if one_dataset and "dataset" in frame and len(frame):
        dataset, others = _chosen(list(frame["dataset"].unique()))
        frame = frame[frame["dataset"] == dataset].reset_index(drop=True)
        named.append(dataset)
        if others:
            print(f"also here: {', '.join(others)}; choose one with the environment variable NRF_DATASET")
    about = ", ".join(named) or sweep
    print(f"{sweep}/{table}: {len(frame)} rows; {about}")
    frame.attrs = {"about": about, "columns": _columns(found.schema)}
    return frame


def together(*frames: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of loaded tables of one kind as one table of one dataset, and print which others are left out.

    Sweeps in one store may be of different datasets, and then each table was loaded with its own. The dataset is chosen
    as in `load`. The new table is about what the tables with rows of this dataset are about.
    """
    datasets = {name for frame in frames if "dataset" in frame for name in frame["dataset"].unique()}
    kept = list(frames)
    if len(datasets) > 1:
        dataset, others = _chosen(list(datasets))
        kept = [frame[frame["dataset"] == dataset] for frame in frames]
        print(f"kept: {dataset}; left out: {', '.join(others)}; choose with the environment variable NRF_DATASET")
    filled = [frame for frame in kept if len(frame)]
    found = pd.concat(filled or kept[:1], ignore_index=True)
    found.attrs = {"about": about(*filled), "columns": frames[0].attrs["columns"]}
    return found


def picture(sweep: str, name: str) -> "HTML | None":
    """Return a picture that a sweep stored beside its tables, to be shown; if it is missing, print how to make it.

    It is an image with its title as alternative text: the ids of SVG in the page itself could clash with others.
    """
    from IPython.display import HTML

    data = store().blobs.get(f"sweeps/{sweep}/{name}")
    if data is None:
        print(f"There is no picture {sweep}/{name}. Run: {_command(sweep)}")
        return None
    return HTML(drawn(name, data))  # type: ignore[no-untyped-call]


def dictionary(frame: pd.DataFrame, *names: str) -> str:
    """Return in Markdown what columns of a loaded table mean, with their units; all columns if none is named."""
    known: dict[str, dict[str, str]] = frame.attrs["columns"]
    lines = []
    for name in names or known:
        unit = f" ({known[name]['unit']})" if known[name]["unit"] else ""
        lines.append(f"- `{name}`{unit}: {known[name]['description']}")
    return "\n".join(lines)


def about(*frames: pd.DataFrame) -> str:
    """Return in a few words what loaded tables are about: preset and data, or that there is no table."""
    found = dict.fromkeys(frame.attrs["about"] for frame in frames if frame.attrs["about"])
    return "; ".join(found) or "no table here"


def labelled(table: pd.DataFrame, ball: Sequence[str] = ("norm", "epsilon")) -> pd.DataFrame:
    """Return rows about models, or (without a `role`) about sets, with a column `label` in words and the set's ball."""
    text = model_text if "role" in table else set_text
    norm, epsilon = ball
    labels = [f"{text(row)} {ball_text(row[norm], row[epsilon])}".strip() for row in table.to_dict("records")]
    return table.assign(label=labels)


def readable(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Return rows of `contrasts.summarise` as text for display: shares with three digits, intervals beside them.

    `names` are the columns kept as they are. Columns of `paper.compared` follow if the table has them, with preset and
    data of our numbers and of the published ones.
    """
    rows = [_readable(row) for row in table.to_dict("records")]
    kept = table[list(names)].reset_index(drop=True).astype(object)
    return pd.concat([kept.where(kept.notna(), ""), pd.DataFrame(rows, index=kept.index)], axis=1)


def _readable(row: dict[Any, Any]) -> dict[str, Any]:
    cells = {
        **({"ours": row["ours"]} if "ours" in row else {}),
        "mean [95% over seeds]": _with_interval(row["mean"], row["low"], row["high"]),
        "seeds": row["seeds"],
        "models": row["models"],
        "n": row["n"],
        "95% over test images": interval_text(row["test_low"], row["test_high"]),
    }
    if "paper" in row:
        paper, reruns = share_text(row["paper"]), interval_text(row["reruns_low"], row["reruns_high"])
        cells["paper"] = "" if pd.isna(row["paper"]) else f"{paper} ({row['paper_source']}: {row['paper_of']})"
        cells["re-runs"] = f"{reruns} ({row['reruns']}: {row['reruns_of']})" if reruns else ""
    return cells


def _with_interval(estimate: float, low: float, high: float) -> str:
    return f"{share_text(estimate)} {interval_text(low, high)}".strip()


def _missing(sweep: str, table: str, why: str) -> pd.DataFrame:
    """Print how to make the table, and return it empty."""
    print(f"There is no table {sweep}/{table}: {why}.")
    print(f"Run: {_command(sweep, table)}")
    declared = table_named(table)
    if declared is None:
        frame, columns = pd.DataFrame(), {}
    else:
        frame, columns = to_arrow(declared, []).to_pandas(), _columns(schema(declared))
    frame.attrs = {"about": "", "columns": columns}
    return frame


def _command(sweep: str, table: str = "") -> str:
    """Return the command that makes a table; for the table of extra test sets, it has the flag for their path."""
    file = next(SWEEPS.rglob(f"{sweep}.py"), SWEEPS / f"{sweep}.py").relative_to(SWEEPS.parent)
    command = f"python {file.as_posix()} --store {shlex.quote(store_uri())}"
    return f"{command} --extra-test cifar10.1:PATH" if table == EXTRA.name else command


def _chosen(datasets: list[str]) -> tuple[str, list[str]]:
    """Return the dataset to show and the others."""
    wanted = os.environ.get("NRF_DATASET")
    first = wanted if wanted in datasets else sorted(datasets)[0]
    return first, [name for name in sorted(datasets) if name != first]


def _columns(schema: pa.Schema) -> dict[str, dict[str, str]]:
    """Return description and unit of every column, from the schema of a file."""
    texts = {
        field.name: {key.decode(): value.decode() for key, value in (field.metadata or {}).items()} for field in schema
    }
    return {
        name: {"description": text.get("description", ""), "unit": text.get("unit", "")} for name, text in texts.items()
    }
