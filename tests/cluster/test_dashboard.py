"""`--dashboard`: Ray's dashboard of a local run, for this machine alone and with a token; and how to get there."""

import os
import subprocess
import sys

import pytest

from nrf_ray.cluster.run import dashboard_lines
from nrf_ray.errors import ConfigError
from nrf_ray.run.command import run_or_plan
from nrf_ray.sweep.flags import RunOptions
from tests.cluster.toys import Toy, sweep_of, toy


def test_the_lines_say_where_it_is_how_to_get_the_token_and_how_to_come_from_elsewhere() -> None:
    here, away = dashboard_lines("127.0.0.1:8266", local=True)
    assert here.startswith("dashboard http://127.0.0.1:8266, until the run ends; it asks for the token that `ray get-")
    assert "ssh -L 8266:127.0.0.1:8266 " in away
    of_cluster = dashboard_lines("10.0.0.1:8265", local=False)
    assert "until the run ends" not in of_cluster[0]
    assert "ssh -L 8265:10.0.0.1:8265 HEAD, then http://127.0.0.1:8265" in of_cluster[1]


def test_a_cluster_has_its_own(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    options = RunOptions(store=str(tmp_path / "store"), address="127.0.0.1:6379", dashboard=True)
    with pytest.raises(ConfigError, match=r"the run joins the cluster at 127\.0\.0\.1:6379, which has its own; omit"):
        run_or_plan(sweep_of(toy(Toy(name="one"))), options)
    assert not (tmp_path / "store").exists()


LOCAL = """
import os, urllib.error, urllib.request
import psutil
from nrf_ray.cluster.leave import leave_with
from nrf_ray.cluster.session import connect

def answer(place, token):
    asked = urllib.request.Request(f"http://{place}/nodes?view=summary")
    if token:
        asked.add_header("Authorization", f"Bearer {token}")
    try:
        return urllib.request.urlopen(asked, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code

def main():
    with connect(None, dashboard=True) as place:
        port = int(place.rpartition(":")[2])
        open_to = {c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port}
        print(sorted(open_to), answer(place, ""), answer(place, os.environ["RAY_AUTH_TOKEN"]))
    return 0

leave_with(main)
"""


@pytest.mark.slow
def test_only_this_machine_reaches_it_and_only_with_the_token() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOCAL], env=os.environ.copy(), capture_output=True, text=True, timeout=250, check=False
    )
    assert done.stdout == "['127.0.0.1'] 401 200\n", done.stderr
