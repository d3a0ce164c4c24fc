"""Provenance of the results as HTML, and the commands that reproduce and inspect them."""

import shlex
from collections.abc import Sequence

from nrf_ray.display.printing import span
from nrf_ray.page.elements import command, facts, grid, moment, section
from nrf_ray.page.html import Html, el
from nrf_ray.page.snapshot import Snapshot, Standing

SHARED = "test rows that are training rows too"


def provenance(known: Snapshot) -> Html:
    """Return the section with settings, data, code, versions and machines, from the run and its records."""
    origin = known.origin
    hosts = [(host.name, host.processor, host.device, f"{host.stages:,}", span(host.seconds)) for host in origin.hosts]
    return section(
        "provenance",
        "Provenance",
        facts(
            (
                ("store", known.place),
                ("began", moment(known.began)),
                *((("preset", known.preset),) if known.preset else ()),
                ("code", "; ".join(origin.commits) or "no stage has finished yet"),
                *origin.versions,
            )
        ),
        *_table("Data", ("dataset", "sha256 of its content, part of every key", SHARED), origin.datasets, names=3),
        *_table("Machines", ("host", "processor", "device", "stages", "work"), hosts, names=3),
        *_table("Code of each kind of stage", ("kind", "source digest"), origin.digests, names=2),
    )


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, names: int) -> tuple[Html, ...]:
    return (el("h3", title), grid(title, columns, rows, names=names)) if rows else ()


def commands(known: Snapshot) -> Html:
    """Return the section with the commands that reproduce the results and inspect them."""
    place = shlex.quote(known.place)
    held = (fact.key for fact in known.stages if fact.standing in (Standing.DONE, Standing.KEPT))
    key = next(held, "KEY")[:12]
    look = [
        f"nrf status --store {place}",
        f"nrf show {key} --store {place}",
        f"nrf why {key} --store {place}",
        f"nrf verify --store {place}",
        f"nrf report {shlex.quote(known.sweep)} --store {place} --serve",
    ]
    if known.curves_at:
        look.append(f"tensorboard --logdir {shlex.quote(known.curves_at)}")
    return section(
        "commands",
        "Commands",
        el("p", "To resume, to extend the grid, or to check that everything is done:"),
        command(known.command),
        el("p", "To inspect the store:"),
        command("\n".join(look)),
    )
