"""Command line: one parser for every sweep file, and `nrf` to look into a store.

    python sweeps/transfer_grid.py --arch resnet_s,vgg_s --epsilon 1.0,1.5 --seeds 0,1,2
    python sweeps/transfer_grid.py --plugin mine.py --arch mine

Exit codes: 2 for a user's mistake, which is one line on stderr; 1 for failed stages; 130 for Ctrl-C or SIGTERM, at any
moment of a command. Neither ray nor torch is imported before something has to run, unless a plug-in imports them.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TypeVar, cast

from cyclopts import App, CycloptsError
from rich.text import Text

from nrf_ray.cluster.interrupt import stop_in_time
from nrf_ray.cluster.leave import leave_with
from nrf_ray.display.output import is_lost, open_standard_files, show_every_letter
from nrf_ray.display.printing import make_console
from nrf_ray.errors import INTERRUPTED, ConfigError, NrfError, check_text, one_line, printable
from nrf_ray.graph.plugin_files import load_named
from nrf_ray.plugins import blamed, installed
from nrf_ray.run.command import run_or_plan
from nrf_ray.sweep.flags import Flags, RunOptions
from nrf_ray.sweep.sweep import Sweep

OptionsT = TypeVar("OptionsT", bound=RunOptions)
GridT = TypeVar("GridT")


def sweep_main(build: Callable[[GridT], Sweep], flags: Flags[OptionsT, GridT]) -> None:
    """Run the sweep file that defines `build` with the flags in sys.argv, and exit."""
    app = _app(f"{build.__name__}.py", sys.modules[build.__module__].__doc__)
    defaults = flags.options()

    def run(options: RunOptions = defaults) -> int:
        _load_plugins(options)
        return run_or_plan(build(flags.grid(cast(OptionsT, options))), options)

    run.__annotations__["options"] = flags.options  # cyclopts reads the flags from the annotation
    app.default(run)
    leave_with(lambda: _guarded(app))


def _load_plugins(options: RunOptions) -> None:
    """Load the plug-ins of a run before its flags are read, which may name what they register."""
    if options.plugin or installed():
        import_module("nrf_ray.tables.registry")  # so that the names of this package are taken
        load_named(options.plugin, options.store)


def nrf_main() -> None:
    """Run the `nrf` command with sys.argv, and exit."""
    leave_with(lambda: _guarded(nrf_app()))


def nrf_app() -> App:
    """Return the parser of the `nrf` command, whose modules no sweep loads."""
    from nrf_ray.compare.command import compare
    from nrf_ray.doctor.command import doctor
    from nrf_ray.export.command import export, export_sweep
    from nrf_ray.inspection import commands, data_sets
    from nrf_ray.inspection.import_model import import_model
    from nrf_ray.inspection.trust import trust
    from nrf_ray.page.command import report

    app = _app("nrf", commands.__doc__)
    for command in (*commands.COMMANDS, report, export, export_sweep, compare, doctor, trust):
        app.command(command)
    app.command(import_model, name="import")
    data = _app("data", data_sets.__doc__)
    data.command(data_sets.push_set, name="push")
    data.command(data_sets.pull_set, name="pull")
    app.command(data)
    return app


def _app(name: str, text: str | None) -> App:
    """Return a parser that leaves errors, results and Ctrl-C to `_guarded`."""
    return App(
        name=name,
        help=text or "",
        version_flags=[],
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )


def _guarded(app: App) -> int:
    """Run `app`; turn every expected error, Ctrl-C and SIGTERM into one line and an exit code."""
    open_standard_files()
    show_every_letter(sys.stdout, sys.stderr)
    try:
        with stop_in_time():
            return _outcome(app)
    except KeyboardInterrupt:
        _say("stopped: ", "finished stages are kept; run the same command again to resume")
        return INTERRUPTED


def _outcome(app: App) -> int:
    try:
        _check_folder()
        for argument in sys.argv[1:]:
            check_text(argument, "the argument")
        code = app(sys.argv[1:], exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return _complain(one_line(error) + " See --help.", 2)
    except NrfError as error:
        return _complain(str(error), error.exit_code)
    except Exception as error:
        if said := blamed(error):
            return _complain(said, 2)
        if not isinstance(error, OSError) or not is_lost(sys.stdout):
            raise
        return _complain(f"what was to be printed cannot be written: {error.strerror}; free space there", 1)
    return code if isinstance(code, int) else 0


def _check_folder() -> None:
    """Raise ConfigError if the working folder is gone, to which every relative path belongs."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise ConfigError("the working folder was deleted; change to a folder that exists") from error


def _complain(message: str, code: int) -> int:
    _say("error: ", message)
    return code


def _say(heading: str, message: str) -> None:
    make_console(sys.stderr).print(Text.assemble((heading, "bold red"), printable(message)), soft_wrap=True)
