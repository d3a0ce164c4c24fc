"""`nrf report`: write the page of a sweep again, or serve it."""

from typing import Annotated

from cyclopts import Parameter

from nrf_ray.display.printing import make_console
from nrf_ray.errors import ConfigError
from nrf_ray.graph.find import open_store
from nrf_ray.graph.plugin_files import load_named
from nrf_ray.graph.store import Store
from nrf_ray.page.outline import driver_of, page_name, read_outline
from nrf_ray.results.stored_sweep import PluginNames, StoreUri


def report(
    sweep: str | None = None,
    *,
    store: StoreUri = "./runs",
    plugin: PluginNames = (),
    serve: Annotated[bool, Parameter(negative=())] = False,
    port: int = 8710,
) -> None:
    """Write the page of SWEEP, sweeps/SWEEP/report.html in the store, again from the data in the store.

    A running sweep writes its page itself, every few seconds and a last time when it ends; open the file in a browser.
    The page of a killed sweep still says that the sweep runs: this command corrects it. SWEEP can be left out if the
    store has only one sweep.

    With --serve: instead of writing the page, serve it on --port, on this machine only, until Ctrl-C. Every request
    gets the current page.

        nrf report transfer_grid
        nrf report transfer_grid --store /shared/runs --serve --port 8710
    """
    load_named(plugin, store)
    opened = open_store(store)
    name = sweep or _only_sweep(opened)
    console = make_console()
    if serve:
        from nrf_ray.page.serve import LOOPBACK, make_server

        current(opened, name)
        with make_server(lambda: current(opened, name), port) as server:
            console.print(f"http://{LOOPBACK}:{server.server_address[1]}/  (stop with Ctrl-C)", soft_wrap=True)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                return
    where = opened.path_of(page_name(name))
    driver = driver_of(read_outline(opened, name), opened)
    if driver is not None:
        console.print(f"{driver} runs {name} and writes its page itself: {where}", soft_wrap=True)
        return
    opened.blobs.replace(page_name(name), _from_records(opened, name))
    console.print(f"report  {where}", soft_wrap=True)


def current(store: Store, sweep: str) -> bytes:
    """Return the current page of `sweep`: the one that its run wrote, or a new one if the run was killed."""
    outline = read_outline(store, sweep)
    written = store.blobs.get(page_name(sweep))
    if written is not None and (outline.ended is not None or driver_of(outline, store) is not None):
        return written
    return _from_records(store, sweep)


def _from_records(store: Store, sweep: str) -> bytes:
    from nrf_ray.page.collect import known_from_store
    from nrf_ray.page.document import document

    return document(known_from_store(store, sweep))


def _only_sweep(store: Store) -> str:
    names = store.blobs.folders("sweeps")
    if len(names) != 1:
        raise ConfigError(f"give the name of a sweep; {store.uri} has: {', '.join(names) or 'none'}")
    return names[0]
