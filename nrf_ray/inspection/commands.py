"""The `nrf` command: inspect a store, export from it, and download datasets to this machine.

No command here runs a stage. Only `gc` and `rm` delete files, and only `verify --quarantine` moves them.
"""

import json
from collections import Counter
from functools import partial

from rich.console import Console

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.naming import split_names
from nrf_ray.display.printing import make_console
from nrf_ray.errors import ConfigError, CorruptArtifact, PluginMissing, StagesFailed
from nrf_ray.graph.drivers import live_drivers
from nrf_ray.graph.find import committed, find_place, open_store
from nrf_ray.graph.plugin_files import load_named, versions
from nrf_ray.graph.store import FAILURE, RECORD, Place, Store
from nrf_ray.inspection.runs import gc, rm, runs
from nrf_ray.page.working import AtWork, read_working
from nrf_ray.results.stored_sweep import PluginNames, StoreUri


def status(*, store: StoreUri = "./runs") -> None:
    """Print the number of artifacts by stage and state, failures, active runs and their stages, plug-ins and sweeps.

    The command only reads, so it can be used at any time, also while runs use the store.

        nrf status
        nrf status --store s3://bucket/runs
    """
    opened = open_store(store)
    console = make_console()
    held: dict[str, Counter[str]] = {}
    failures: list[str] = []
    for place in opened.places():
        state = "done" if opened.blobs.exists(place.file(RECORD)) else "unfinished"
        note = opened.blobs.get_json(place.file(FAILURE)) if state == "unfinished" else None
        if note is not None:
            state = "failed"
            failures.append(f"failed: {place.stage} {place.key[:12]}: {note.get('error')}")
        held.setdefault(place.stage, Counter())[state] += 1
    for stage, counts in sorted(held.items()):
        console.print(f"{stage:12} " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items())))
    for failure in failures:
        console.print(failure, soft_wrap=True, markup=False)
    if failures:
        console.print("nrf show KEY prints the traceback of a failure")
    drivers = live_drivers(opened.blobs)
    at_work = _at_work(opened) if drivers else {}
    for driver in drivers:
        console.print(f"running: {driver}")
        for run, found in at_work.items():
            for line in found.lines(run) if found.is_of(driver) else ():
                console.print(line, soft_wrap=True, markup=False)
    for name, digests in sorted(versions(opened.blobs).items()):
        console.print(f"plug-in {name}: {', '.join(digest[:12] for digest in digests)}", markup=False)
    sweeps = opened.blobs.folders("sweeps")
    console.print(f"sweeps: {', '.join(sweeps) or 'none'}")
    damaged = opened.blobs.folders("quarantine")
    if damaged:
        console.print(f"quarantine: {len(damaged)} damaged artifacts; nrf gc removes them")


def _at_work(store: Store) -> dict[str, AtWork]:
    """Return what every run of the store has said last about the stages that it works on."""
    names = store.blobs.folders("sweeps")
    found = zip(names, store.at_once(partial(read_working, store), names), strict=True)
    return {name: at_work for name, at_work in found if at_work is not None}


def show(key: str, *, store: StoreUri = "./runs") -> None:
    """Print the record of the artifact whose key starts with KEY or, if its stage failed, the error and traceback.

    KEY is any unique prefix; `stages.parquet` of a sweep has the keys of its stages.

        nrf show 3f9a
        nrf show 3f9a21 --store /shared/runs
    """
    opened = open_store(store)
    place = find_place(opened, key)
    note = opened.blobs.get_json(place.file(FAILURE))
    if note is not None and not opened.blobs.exists(place.file(RECORD)):
        make_console().out(f"{place.stage}/{place.key} failed: {note.get('error')}\n\n{note.get('traceback')}")
        return
    make_console().print_json(committed(opened, place).to_bytes().decode())


def why(key: str, *, store: StoreUri = "./runs") -> None:
    """Explain the key that starts with KEY: its config and inputs, and in turn the configs and inputs of its inputs.

    Every config is printed in full, down to the digest of the dataset.

        nrf why 3f9a
    """
    opened = open_store(store)
    console = make_console()
    todo = [(0, "", find_place(opened, key))]
    while todo:
        depth, name, place = todo.pop()
        indent = "    " * depth
        record = opened.peek(place)
        if record is None:
            console.print(f"{indent}{name}{place.stage} {place.key[:12]}: not committed")
            continue
        console.print(f"{indent}{name}{record.stage} {record.key[:12]} version {record.version}")
        console.print(f"{indent}  {json.dumps(record.config)}", style="dim", soft_wrap=True)
        stages = {p.key: p for p in opened.places()} if record.inputs else {}
        for input_name, input_key in sorted(record.inputs.items(), reverse=True):
            found = stages.get(input_key, Place("(not in this store)", input_key))
            todo.append((depth + 1, f"{input_name} = ", found))


def verify(
    *,
    store: StoreUri = "./runs",
    quarantine: bool = False,
    recompute: bool = False,
    dataset: str = "digits",
    plugin: PluginNames = (),
) -> None:
    """Read every committed file again, compare it with its record, and list damaged artifacts.

    With --quarantine, move damaged artifacts to the quarantine, so that their sweep builds them again; otherwise change
    nothing. With --recompute, also recompute every row of the sets constructed from --dataset (comma-separated), in
    fp32 from the stored files: labels, seeds, starts, norms, losses, which images moved, the patterns of controls, the
    source's predictions on the stored images, and the metrics of the record. The source's predictions before rounding
    cannot be recomputed: 8-bit files lack the unrounded images. An error in one set does not end the check of others.
    Sets that were made with a plug-in are skipped unless --plugin names it.

        nrf verify
        nrf verify --quarantine
        nrf verify --recompute --dataset digits,fashion-mnist
    """
    load_named(plugin, store)
    opened = open_store(store)
    console = make_console()
    checked, damaged = 0, 0
    for place in opened.places():
        try:
            record = opened.record(place) if quarantine else opened.peek(place)
            problems = opened.problems(record) if record else []
        except CorruptArtifact as error:
            record, problems = None, [error.problem]
        checked += bool(record or problems)
        damaged += bool(problems)
        if record and problems and quarantine:
            opened.quarantine(record)
        for problem in problems:
            console.print(f"damaged: {place.stage}/{place.key}: {problem}", soft_wrap=True)
    console.print(f"{checked} artifacts read, {damaged} damaged")
    wrong = _recompute(opened, console, split_names(dataset)) if recompute else []
    if wrong:
        raise StagesFailed(
            f"{len(wrong)} constructed sets differ from their record or could not be recomputed: {', '.join(wrong)}; "
            f"see above, and do not use them; {damaged} artifacts are damaged"
        )
    if damaged:
        raise StagesFailed(
            f"{damaged} damaged; {'moved to the quarantine: ' if quarantine else 'use nrf verify --quarantine, then '}"
            "run their sweep again to rebuild them"
        )


def _recompute(store: Store, console: Console, datasets: list[str]) -> list[str]:
    """Recompute every constructed set; return the titles of sets with a problem, or that cannot be recomputed."""
    from nrf_ray.inspection.verify_set import recompute

    known = {info.ref.digest: info.ref for info in map(dataset_named, datasets)}
    looked_at, skipped, wrong = 0, 0, []
    for place in store.places():
        if place.stage != "construct":
            continue
        label = f"{place.stage}/{place.key[:12]}"
        problems: tuple[str, ...]
        try:
            record = store.peek(place)
            if record is None:
                continue
            label = f"{label} {record.provenance.get('label')}"
            found = recompute(store, record, known)
        except PluginMissing as error:
            console.print(f"skipped: {label}: {error}", soft_wrap=True)
            skipped += 1
            continue
        except (ConfigError, CorruptArtifact, ValueError) as error:
            problems = (str(error),)
        else:
            problems = found.problems
            differences = ", ".join(f"{name} {value:.1e}" for name, value in found.differences.items())
            console.print(
                f"{label}: {found.rows} rows recomputed; largest differences: {differences}; "
                f"{found.duplicates} images occur twice",
                soft_wrap=True,
            )
        looked_at += 1
        for problem in problems:
            console.print(f"wrong: {label}: {problem}", soft_wrap=True)
        if problems:
            wrong.append(label)
    also = f", {skipped} skipped" if skipped else ""
    console.print(f"{looked_at} constructed sets recomputed, {len(wrong)} wrong{also}")
    return wrong


def fetch(name: str) -> None:
    """Download the dataset NAME (fashion-mnist, cifar10, cifar100) to the folder where sweeps look for it.

    Nothing else in nrf_ray downloads data. The downloaded files are checked against their digest. texts:NAME downloads
    a dataset of texts from the Hugging Face hub, to a folder that sweeps read as text-parquet:FOLDER. model:hf:REPO
    downloads a model to the hub's cache, where sweeps find it as hf:REPO. torchvision:NAME and hf:NAME let torchvision
    and Hugging Face's `datasets` download a set of images to where sweeps find it by the same name.

        nrf fetch cifar10
        nrf fetch torchvision:SVHN
        nrf fetch hf:ylecun/mnist
        nrf fetch texts:cornell-movie-review-data/rotten_tomatoes
        nrf fetch model:hf:timm/resnet18.a1_in1k
    """
    from nrf_ray.data.fetch import fetch_dataset

    make_console().print(f"{name} is at {fetch_dataset(name)}", soft_wrap=True)


COMMANDS = (status, runs, show, why, verify, rm, gc, fetch)
"""Commands of `nrf`, in the order of its help."""
