"""`nrf report`: from the records, and on loopback for nobody else."""

import http.client
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nrf_ray.errors import ConfigError
from nrf_ray.graph.drivers import Heart
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.store import Store
from nrf_ray.page.command import current
from nrf_ray.page.outline import outline_name, outline_of, page_name
from nrf_ray.page.serve import make_server
from nrf_ray.results.write import write_tables
from tests.cluster.toys import Toy, sweep_of, toy
from tests.commands import nrf

SWEEP = sweep_of(toy(Toy(name="first")).named("the first"))


@pytest.fixture
def killed(tmp_path: Path) -> Store:
    """A store whose run was killed when everything was done but the tables."""
    store = Store.open(str(tmp_path / "store"), create=True)
    about = outline_of(
        SWEEP, make_plan(SWEEP.goals, store), command="python it.py", expected=1.0, began=datetime.now(UTC)
    )
    store.blobs.replace(outline_name(SWEEP.name), about.to_bytes())
    store.blobs.replace(page_name(SWEEP.name), b"the last page of the run")
    run_inline(SWEEP.goals, store)
    return store


def test_the_page_of_a_killed_run_is_made_again(killed: Store, monkeypatch, capsys) -> None:
    code, out, _ = nrf(monkeypatch, capsys, "report", "--store", killed.uri)
    assert code == 0
    assert out == f"report  {killed.path_of('sweeps/toys/report.html')}\n"
    page = killed.blobs.get(page_name("toys")).decode()
    assert 'class="state">Interrupted<' in page
    assert "In the store: 1 of 1 stage" in page


def test_tables_that_are_of_this_grid_are_shown(tiny, monkeypatch, capsys) -> None:
    plan = make_plan(tiny.sweep.goals, tiny.store)
    about = outline_of(tiny.sweep, plan, command="it", expected=None, began=datetime.now(UTC))
    tiny.store.blobs.replace(outline_name(tiny.sweep.name), about.to_bytes())
    write_tables(tiny.sweep, tiny.store)
    code, *_ = nrf(monkeypatch, capsys, "report", tiny.sweep.name, "--store", tiny.store.uri)
    assert code == 0
    assert "digits: accuracy on the untouched test set" in tiny.store.blobs.get(page_name(tiny.sweep.name)).decode()


def test_a_living_run_writes_its_page_itself(killed: Store, monkeypatch, capsys) -> None:
    with Heart(killed.blobs, "run"):
        code, out, _ = nrf(monkeypatch, capsys, "report", "toys", "--store", killed.uri)
        assert current(killed, "toys") == b"the last page of the run"
    assert code == 0
    assert "writes its page itself" in out
    assert killed.blobs.get(page_name("toys")) == b"the last page of the run"
    assert b"Interrupted" in current(killed, "toys"), "and when it died, it is seen at once"


@pytest.mark.parametrize(
    ("words", "message"),
    [(("nothing",), "no sweep 'nothing'"), (("../toys",), "no sweep '../toys'"), (("--port", "x"), "--port")],
    ids=["unknown", "elsewhere", "no port"],
)
def test_a_mistake_is_one_line(words, message, killed: Store, monkeypatch, capsys) -> None:
    code, _, err = nrf(monkeypatch, capsys, "report", *words, "--store", killed.uri)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


def test_where_there_are_several_sweeps_one_is_named(killed: Store, monkeypatch, capsys) -> None:
    killed.blobs.replace("sweeps/other/x", b"")
    code, _, err = nrf(monkeypatch, capsys, "report", "--store", killed.uri)
    assert code == 2
    assert "has: other, toys" in err


@pytest.fixture
def served() -> Iterator[int]:
    with make_server(lambda: b"<p>page</p>", 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask(
    port: int, path: str = "/", *, method: str = "GET", host: str | None = None
) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    for value in [host.replace("PORT", str(port))] if host else [f"127.0.0.1:{port}"] if host is None else []:
        connection.putheader("Host", value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def test_the_page_is_served_and_kept_by_nobody(served: int) -> None:
    status, body, headers = ask(served)
    assert (status, body) == (200, b"<p>page</p>")
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert ask(served, "/?again", host="localhost:PORT")[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:PORT", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:PORT", ""]
)
def test_a_request_under_another_name_is_turned_away(host: str, served: int) -> None:
    status, body, _ = ask(served, host=host)
    assert status == 421
    assert b"page" not in body


@pytest.mark.parametrize("path", ["/run.json", "/../run.json", "/%2e%2e/record.json", "/etc/passwd", "http://x/"])
def test_there_is_nothing_but_the_page(path: str, served: int) -> None:
    assert ask(served, path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_there_is_nothing_but_get(method: str, served: int) -> None:
    assert ask(served, method=method)[0] == 501


def test_a_port_that_cannot_be_used_is_said(served: int) -> None:
    for port in (served, 70_000):
        with pytest.raises(ConfigError, match=rf"port {port} cannot be used .*--port"):
            make_server(lambda: b"", port)


def test_a_store_that_cannot_be_read_is_said_and_the_server_goes_on() -> None:
    def page() -> bytes:
        raise ConfigError("its run.json is damaged")

    with make_server(page, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        assert ask(server.server_port)[:2] == (503, b"its run.json is damaged\n")
        assert ask(server.server_port)[0] == 503
        server.shutdown()
        thread.join()
