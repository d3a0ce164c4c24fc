"""Run of a sweep file: plan it; run the missing stages; write the tables; print the summary."""

import os
import time
import uuid
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING

from rich.console import Console

from nrf_ray.cluster.address import check_address, check_listening
from nrf_ray.cluster.forks import forks
from nrf_ray.cluster.local_start import check_can_start
from nrf_ray.display.printing import make_console, span
from nrf_ray.errors import ConfigError, StagesFailed
from nrf_ray.graph.estimates import Basis, learn
from nrf_ray.graph.folder import check_medium
from nrf_ray.graph.frontier import Frontier, Progress
from nrf_ray.graph.plan import Plan, make_plan
from nrf_ray.graph.plugin_files import keep
from nrf_ray.graph.stage import Resources
from nrf_ray.graph.store import Store
from nrf_ray.page.outline import note_check
from nrf_ray.run.datasets import check_other_tests, dataset_lines, datasets_of, prepare
from nrf_ray.run.forecast import Grounds, error_lines, forecast, forecast_lines
from nrf_ray.run.machine import Machine, machine_named, this_machine
from nrf_ray.run.overheads import learnt, measured, typical
from nrf_ray.stages.devices import DEVICES
from nrf_ray.sweep.flags import RunOptions
from nrf_ray.sweep.sweep import Sweep

if TYPE_CHECKING:
    from nrf_ray.cluster.run import Outcome
    from nrf_ray.cluster.search import StageSearcher
    from nrf_ray.page.live import RunPage
    from nrf_ray.results.write import Written


@dataclass(frozen=True, kw_only=True)
class _Job:
    """A run of a sweep."""

    sweep: Sweep
    grounds: Grounds
    """Its plan and the data of its forecast."""
    machine: Machine
    address: str | None
    """Address of the cluster; None for a local Ray."""
    dashboard: bool
    """Whether a local Ray starts with its dashboard."""
    console: Console
    began: float
    """Start of the command on the monotonic clock."""

    @property
    def plan(self) -> Plan:
        """Its plan."""
        return self.grounds.plan

    def say(self, line: str) -> None:
        """Print a line, which the terminal wraps."""
        self.console.print(line, soft_wrap=True)


def run_or_plan(sweep: Sweep, options: RunOptions) -> int:
    """Run or plan a sweep; return the exit code. Impossible requests are refused before anything is written."""
    began = time.monotonic()
    console = make_console(steady=not options.plan)
    machine = _machine(options)
    sweep = (sweep if options.name is None else sweep.as_run(options.name)).on(machine.resources)
    address = None if options.plan else check_address(options.address, options.store)
    store = Store.open(options.store, create=False)
    held = store.contents()
    estimates = learn(store, held, machine.is_like, machine.seconds)
    plan = make_plan(sweep.goals, store, held=held, cost=estimates.seconds)
    known = typical() if options.plan_on else learnt(store)
    grounds = Grounds(plan=plan, estimates=estimates, overheads=known)
    if sweep.note:
        console.print(sweep.note, soft_wrap=True)
    if options.plan:
        for line in dataset_lines(datasets_of(sweep.stages())):
            console.out(line)
        _print_plan(console, plan)
        for line in forecast_lines(forecast(grounds, machine.slots), machine):
            console.out(line)
        console.out(_plan_line(sweep, grounds, machine))
        return 0
    if options.dashboard and address is not None:
        raise ConfigError(
            f"--dashboard is for a Ray on this machine, and the run joins the cluster at {address}, which has its own; "
            "omit --dashboard: the run prints where it is"
        )
    job = _Job(
        sweep=sweep,
        grounds=grounds,
        machine=machine,
        address=address,
        dashboard=options.dashboard,
        console=console,
        began=began,
    )
    if plan.todo():
        check_listening(address) if address else check_can_start()
    with forks() if plan.todo() and address is None else nullcontext():
        return _all(job, store)


def _all(job: _Job, store: Store) -> int:
    """Run the missing stages, write tables and page, and return the exit code."""
    plan = job.plan
    if job.address is None:
        prepare(datasets_of(plan.todo()), job.say)
        check_other_tests(plan.todo())
    if store.blobs.root is not None:
        check_medium(store.blobs.root)
    store = Store.open(store.uri, create=True)
    keep(store.blobs)
    if not plan.todo():
        return _repeat(job, store)
    from nrf_ray.page.live import RunPage

    expected = forecast(job.grounds, job.machine.slots).wall
    with RunPage(job.sweep, plan, store, expected=expected, say=job.say) as page:
        job.console.print(_plan_line(job.sweep, job.grounds, job.machine))
        return _finish(job, store, _run(job, store, page), page)


def _repeat(job: _Job, store: Store) -> int:
    """Write the tables of a sweep that has nothing to run, and its page if that would change it."""
    written = _written(job, store)
    if written.changed or not note_check(job.sweep, job.plan, store):
        from nrf_ray.page.live import RunPage

        with RunPage(job.sweep, job.plan, store, expected=None, say=job.say) as page:
            page.finish(written.frames)
    seconds = time.monotonic() - job.began
    job.console.print(f"{job.sweep.name}: every stage was in the store; {seconds:.1f} s, Ray was not started")
    return 0


def _written(job: _Job, store: Store, frontier: Frontier | None = None) -> "Written":
    """Write the tables and print the summary; return the tables."""
    from nrf_ray.export.hparams import write_hparams
    from nrf_ray.results.model_runs import model_runs
    from nrf_ray.results.summary import doubts, print_summary
    from nrf_ray.results.write import replaced_keys, write_tables

    former = replaced_keys(job.sweep, store)
    written = write_tables(job.sweep, store, frontier)
    if frontier is not None or written.changed:
        write_hparams(job.sweep, store, model_runs(job.sweep, written.frames))
    print_summary(job.console, job.sweep, store, written.frames)
    for note in doubts(job.sweep, store):
        job.say(note)
    if former:
        job.say(
            f"these tables replace those of another grid ({former} of its stages are not in this one); its artifacts "
            "are kept, and running its command again restores its tables"
        )
    return written


def _machine(options: RunOptions) -> Machine:
    """Return the machine of the estimates; raise ConfigError if a plan is for a machine that no stage can run on."""
    resources = Resources(gpus=options.gpus_per_trial)
    machine = this_machine(resources) if options.plan_on is None else machine_named(options.plan_on, resources)
    if options.plan_on is not None and not options.plan:
        raise ConfigError(f"--plan-on {options.plan_on} only changes the estimates of a plan; give --plan too")
    if options.plan and machine.resources.gpus > machine.count:
        raise ConfigError(
            f"a stage asks for {machine.resources.gpus:g} GPUs, but the plan is for {machine}, so no stage could run; "
            "lower --gpus-per-trial, or name a larger machine with --plan-on"
        )
    return machine


def _print_plan(console: Console, plan: Plan) -> None:
    """Print one line per stage; a rich table would take longer than the plan itself."""
    width = max((len(step.stage.title) for step in plan.steps), default=0)
    kinds = max((len(step.stage.kind.name) for step in plan.steps), default=0) + 2
    lines = [f"{'stage':{kinds}}{'key':14}{'what':{width + 2}}{'state':19}{'cost':>11}  reason"]
    for step in plan.steps:
        cost = span(step.seconds) if step.seconds else ""
        stage = step.stage
        what = f"{stage.kind.name:{kinds}}{stage.key[:12]:14}{stage.title:{width + 2}}"
        lines.append(f"{what}{step.state.value:19}{cost:>11}  {step.reason}")
    console.out("\n".join(lines))


def _plan_line(sweep: Sweep, grounds: Grounds, machine: Machine) -> str:
    plan = grounds.plan
    counts = ", ".join(f"{count} {state.value}" for state, count in plan.counts().items())
    work = f"{plan.seconds():.0f} core-seconds"
    if on_gpus := plan.seconds("cuda"):
        work = f"{on_gpus / 3600:.{1 if on_gpus < 36_000 else 0}f} GPU-hours of {machine.name}"
        if any(grounds.estimates.basis(stage) is Basis.FORMULA for stage in plan.todo() if stage.resources.gpus):
            work += f", to a factor of two or three by the data sheet of an {DEVICES[machine.device].product}"
    return f"{sweep.name}: {len(plan.steps)} stages for {len(sweep.rows)} table rows ({counts}); expected work {work}"


def _run(job: _Job, store: Store, page: "RunPage") -> "Outcome":
    """Run the missing stages on Ray."""
    log = _log_folder(store) / "ray.log"
    job.say(f"store {store.path_of('')}")
    job.say(f"log   {log}")
    job.console.print("Ctrl-C stops the run; run the same command again to resume", style="dim")

    from nrf_ray.cluster.quiet import output_to
    from nrf_ray.cluster.run import run_sweep

    with output_to(log) as terminal:

        def watch(searcher: "StageSearcher") -> AbstractContextManager[None]:
            return page.watching(searcher, lambda line: terminal.print(line, soft_wrap=True))

        return run_sweep(
            job.sweep,
            job.plan,
            store,
            address=job.address,
            dashboard=job.dashboard,
            log=log,
            console=terminal,
            watch=watch,
        )


def _log_folder(store: Store) -> Path:
    """Return a new folder for the log of one run: in a local store, else in this machine's temporary folder."""
    root = store.blobs.root / "logs" if store.blobs.root else Path(gettempdir()) / "nrf_ray"
    return root / f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


def _finish(job: _Job, store: Store, outcome: "Outcome", page: "RunPage") -> int:
    """Write the tables and the last page, print the summary, and return the exit code."""
    sweep, grounds, console, began = job.sweep, job.grounds, job.console, job.began
    written = _written(job, store, outcome.frontier)
    page.finish(written.frames, {} if job.address or job.dashboard else _overheads(grounds.plan, outcome, began))
    seconds = time.monotonic() - began
    expected = forecast(grounds, max(1, round(outcome.slots)))
    for line in error_lines(grounds.plan, outcome.seconds, expected, seconds):
        console.print(line, soft_wrap=True)
    console.print(
        f"{sweep.name}: {seconds:.0f} s wall; {outcome.work_seconds:.0f} s of work on "
        f"{round(outcome.slots, 1):g} slots; "
        f"start-up and orchestration {outcome.overhead(seconds):.0%} of the slots' time"
    )
    failed = outcome.frontier.in_state(Progress.FAILED)
    if failed:
        for stage in failed:
            console.print(f"failed: {stage.title}: {outcome.frontier.errors[stage.key]}", soft_wrap=True)
        blocked = len(outcome.frontier.in_state(Progress.BLOCKED))
        raise StagesFailed(
            f"{len(failed)} stages failed, and {blocked} that need them did not run; see the errors above, fix the "
            "cause and run the same command again; finished stages are not repeated"
        )
    if not outcome.frontier.finished:
        raise StagesFailed("Ray ended before all stages had run; read the log, then run the same command again")
    return 0


def _overheads(plan: Plan, outcome: "Outcome", began: float) -> dict[str, float]:
    """Return the measured overheads of a run that began at `began` and is about to end; empty if they are unknown."""
    if outcome.first_start is None or outcome.last_end is None:
        return {}
    start, end = outcome.first_start - began, time.monotonic() - outcome.last_end
    found = measured(plan, outcome.seconds, outcome.firsts, start=start, end=end)
    return asdict(found) if found else {}
