"""Snapshots to make pages of, with and without malice."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from nrf_ray.attacks import trust
from nrf_ray.display.printing import Estimate, ResultTable, SetName, share_text
from nrf_ray.graph.canonical import Key
from nrf_ray.page.snapshot import (
    Curve,
    Failure,
    Gallery,
    Host,
    Origin,
    Passage,
    Reading,
    RunState,
    Scatter,
    Snapshot,
    Specimen,
    Spot,
    StageFact,
    Standing,
    Start,
    Working,
)
from nrf_ray.page.trust import Assessment, Suspicion

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)> ' & </title></style>"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63680000008200817754f0b8000000"
    "0049454e44ae426082"
)


def within(value: float, half: float) -> Estimate:
    """Return a mean with its interval, as `printing.mean` does."""
    return Estimate(value, (value - half, value + half), f"{share_text(value)} ± {share_text(half)}")


TABLE = ResultTable(
    title="digits: accuracy on the untouched test set (n = 360)",
    columns=("trained on", "eps", "models", "clean", "range", "- control"),
    names=2,
    rows=(
        (SetName("d (source)", "original"), "", "3", within(0.989, 0.002), ".98, .99", ""),
        (SetName("d_det", "constructed"), "l2 1", "15", within(0.086, 0.039), ".02, .19", within(-0.1, 0.2)),
        (SetName("leak_det", "control"), "l2 1", "6", within(0.016, 0.027), ".00, .03", ""),
    ),
    notes=("clean: share of (x, y) that is right.",),
)


STATEMENTS = ResultTable(
    title="statements",
    columns=("statement", "", "instances", "error"),
    names=2,
    rows=(("theorem_1", ">=", "36", "1.1e-02"),),
    notes=(),
)
"""A table with a column that has no heading, and without numbers to draw."""

SPOT = Spot(name="vgg_s", x=Estimate(0.1, None), y=Estimate(0.2, (0.1, 0.3)))


WORDS = Reading(
    title="d_det 2 words of reviews",
    key=Key("f" * 64),
    start=Start.ITSELF,
    nearest=False,
    passages=(
        Passage(label="0 → 1", original="a dull film", constructed="a bright film"),
        Passage(label="1 → 0", original="so it is", constructed="so it is"),
    ),
)
VECTORS = replace(WORDS, title="d_det l2 0.5 of reviews", nearest=True)


def fact(
    name: str, standing: Standing, *inputs: int, level: int = 0, kind: str = "train", reason: str = ""
) -> StageFact:
    """Return a stage called `name`."""
    key = Key(f"{sum(map(ord, name)):064x}")
    return StageFact(
        kind=kind, key=key, title=name, arch=None, inputs=inputs, level=level, standing=standing, reason=reason
    )


FACTS = (
    fact("source", Standing.KEPT),
    fact("set", Standing.DONE, 0, level=1, kind="construct"),
    fact("student a", Standing.RUNNING, 1, level=2),
    fact("student b", Standing.READY, 1, level=2),
    fact("test a", Standing.WAITING, 2, level=3, kind="evaluate"),
)
FAILED = (
    *FACTS,
    fact("broken", Standing.FAILED, 0, level=1, kind="attack", reason="ValueError: no"),
    fact("left out", Standing.BLOCKED, 5, level=2, kind="transfer", reason="needs broken, which failed"),
)


def running(**changes: object) -> Snapshot:
    """Return what is known of a run in its middle, with some of everything."""
    made = Snapshot(
        sweep="transfer_grid",
        state=RunState.RUNNING,
        why="",
        command="python sweeps/transfer_grid.py --seeds 0",
        preset="laptop",
        place="/store",
        began=BEGAN,
        written=BEGAN + timedelta(seconds=70),
        expected=200.0,
        left=120.0,
        rows=(3, 9),
        stages=FACTS,
        working=(Working(fact=FACTS[2], since=12.0, expected=15.0),),
        sentences=("On digits, students of d_det classify .086: .1 fewer than those of the control leak_det.",),
        tables=(TABLE, STATEMENTS),
        scatters=(
            Scatter(
                title="digits: targeted l2 1",
                x="accuracy",
                y="fooled",
                spots=(SPOT, replace(SPOT, name="resnet_s", x=Estimate(0.3, (0.2, 0.5)))),
                note="r = 1.00.",
            ),
        ),
        curves=(
            Curve(
                group="student on d_det",
                line="vgg_s",
                title="one",
                quantity="train/accuracy",
                points=((1, 0.2), (2, 0.5)),
            ),
            Curve(
                group="student on d_det", line="vgg_s", title="one", quantity="train/loss", points=((1, 2.2), (2, 1.5))
            ),
        ),
        curves_at="/store/sweeps/transfer_grid/tensorboard",
        galleries=(
            Gallery(
                title="d_det of digits",
                key=FACTS[1].key,
                first="original",
                factor=5.0,
                specimens=(Specimen(label="3 → 4", original=PNG, constructed=PNG, change=PNG),),
            ),
        ),
        readings=(WORDS, VECTORS),
        pictures={"figure_4.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><title>a &lt; b</title></svg>"},
        origin=Origin(
            versions=(("torch", "2.14.1"),),
            commits=("0123456789ab",),
            digests=(("train", "abc"),),
            datasets=(("digits", "5d" * 32, "0 of 360"),),
            hosts=(Host(name="vm", processor="a processor", device="cpu", stages=2, seconds=9.0),),
        ),
    )
    return replace(made, **changes)


def finished(**changes: object) -> Snapshot:
    """Return what is known of the same run at its end."""
    held = tuple(replace(one, standing=Standing.DONE) for one in FACTS)
    changes = {"state": RunState.FINISHED, "stages": held, "working": (), "left": None, "rows": (9, 9)} | changes
    return running(**changes)


def failed(**changes: object) -> Snapshot:
    """Return what is known of a run in which a stage failed."""
    failure = Failure(fact=FAILED[5], trace="Traceback (most recent call last):\n  in it\nValueError: no", blocks=1)
    changes = {"state": RunState.FAILED, "stages": FAILED, "failures": (failure,), "working": ()} | changes
    return running(**changes)


def hostile() -> Snapshot:
    """Return what is known where everything that has a name is called something nasty."""
    known = failed()
    nasty = replace(FAILED[5], title=HOSTILE, reason=HOSTILE, kind="attack")
    return replace(
        known,
        why=HOSTILE,
        command=HOSTILE,
        preset=HOSTILE,
        place=HOSTILE,
        stages=(*FAILED[:5], nasty, replace(FAILED[6], title=HOSTILE, reason=HOSTILE)),
        failures=(Failure(fact=nasty, trace=HOSTILE, blocks=1),),
        working=(Working(fact=nasty, since=1.0, expected=None),),
        sentences=(HOSTILE,),
        tables=(replace(TABLE, title=HOSTILE, rows=((HOSTILE, *TABLE.rows[1][1:]),), notes=(HOSTILE,)),),
        scatters=(replace(known.scatters[0], title=HOSTILE, x=HOSTILE, spots=(replace(SPOT, name=HOSTILE),)),),
        curves=tuple(replace(curve, group=HOSTILE, line=HOSTILE, title=HOSTILE) for curve in known.curves),
        curves_at=HOSTILE,
        galleries=(replace(known.galleries[0], title=HOSTILE, first=HOSTILE),),
        readings=(
            replace(WORDS, title=HOSTILE, passages=(Passage(label="0", original=HOSTILE, constructed=f"{HOSTILE} a"),)),
        ),
        pictures={HOSTILE: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(3)</script></svg>"},
        origin=Origin(
            versions=((HOSTILE, HOSTILE),),
            commits=(HOSTILE,),
            digests=((HOSTILE, HOSTILE),),
            datasets=((HOSTILE, HOSTILE, HOSTILE),),
            hosts=(Host(name=HOSTILE, processor=HOSTILE, device="cpu", stages=1, seconds=1.0),),
        ),
    )


def assessed(**more: object) -> Assessment:
    """Return what `nrf trust` found of a model whose gradient is masked."""
    columns = ("check", "verdict", "numbers", "passes if")
    made = Assessment(
        model="mine.py:defended",
        level="L0",
        meaning=trust.LEVELS["L0"],
        facts=(("Model", "mine.py:defended"), ("Attack", "pgd-50x10, l2 0.5")),
        suspicions=(
            Suspicion(
                check="black-box",
                verdict="FAIL",
                passes_if=trust.CHECKS["black-box"],
                numbers="only other .310",
                advice="random search beats the gradient: the gradient is masked",
            ),
            Suspicion(
                check="images", verdict="WARN", passes_if=trust.CHECKS["images"], numbers="", advice="give more images"
            ),
        ),
        numbers=ResultTable(
            title="mine.py:defended: accuracy",
            columns=("under", "accuracy", "95% Wilson"),
            names=1,
            rows=(("clean", within(0.97, 0.02), "[.95, .99]"), ("pgd-50x10", within(0.8, 0.07), "[.73, .87]")),
            notes=("share of n = 128 test images",),
        ),
        checks=ResultTable(
            title="Checks",
            columns=columns,
            names=4,
            rows=tuple((name, "PASS", "", meaning) for name, meaning in trust.CHECKS.items()),
            notes=("on n = 80 correctly classified images",),
        ),
        curves=(
            trust.Curve(quantity="accuracy", over="step", points=tuple((float(i), 1 - i / 100) for i in range(51))),
            trust.Curve(quantity="margin", over="step", points=tuple((float(i), i / 10 - 4) for i in range(51))),
            trust.Curve(quantity="cross-entropy", over="step", points=((0.0, 0.0), (1.0, 0.0))),
            trust.Curve(quantity="accuracy", over="radius", points=((0.0, 1.0), (0.25, 0.9), (0.5, 0.8), (4.0, 0.1))),
            trust.Curve(quantity="accuracy", over="query", points=((0.0, 0.8), (25.0, 0.6), (500.0, 0.49))),
        ),
        n=80,
        command="nrf trust mine.py:defended --data digits --epsilon 0.5 --page trust.html",
    )
    return replace(made, **more)  # type: ignore[arg-type]
