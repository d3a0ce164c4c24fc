"""Every line that `nrf doctor` can print, from faked states: what is seen decides the level, the words, the remedy."""

from dataclasses import replace

import pytest

from nrf_ray.cluster.survey import Node, Survey
from nrf_ray.doctor.clusters import judge_cluster
from nrf_ray.doctor.findings import Finding
from nrf_ray.doctor.machine import GIB, ROOMS, Cores, Disk, Gpu, Numbers, judge_cores, judge_disk, judge_numbers
from nrf_ray.doctor.network import Authentication, Listener, judge_authentication, judge_listeners
from nrf_ray.doctor.places import DataSeen, StoreSeen, judge_data, judge_store
from nrf_ray.doctor.start import StartSeen, judge_start
from nrf_ray.doctor.versions import HOLES, Versions, judge_versions

GOOD = {"torch": "2.14.1", "ray": "2.60.0", "pyarrow": "26.0.1"}
VERSIONS = Versions(python="3.11.7", installed=GOOD, required={"torch": ">=2.10", "ray": "<2.61,>=2.60"}, measured=GOOD)
CORES = Cores(usable=2, all=64, load=0.5, memory_free=12 * GIB, memory=16 * GIB)
NUMBERS = Numbers(cpu="AVX512", cpu_bf16=("avx512_bf16", "amx"), gpus=(), driver=False, tf32=(), forced={})
A100 = Gpu(name="NVIDIA A100", memory=40 * GIB, bf16=True)
STORE = StoreSeen(where="s3://bucket/runs", exists=True, problem=None, first_wins=True)
NODE = Node(address="10.0.0.1", cpus=16, gpus=2, kind="A100")
CLUSTER = Survey(nodes=(NODE, NODE), free_cpus=32, free_gpus=4, dashboard="127.0.0.1:8265")


START = (
    StartSeen(known=(("its sockets are long", "export RAY_TMPDIR=/tmp/me"),)),
    StartSeen(problem="no Ray at this machine"),
    StartSeen(),
    StartSeen(seconds=5.2),
    StartSeen(seconds=99.0),
)


def listener(role: str, host: str = "0.0.0.0", *, port: int = 6379, token: bool = True) -> Listener:
    return Listener(role=role, host=host, port=port, token=token)


def lines(found: list[Finding] | Finding) -> list[str]:
    """Return each finding as its level and its message."""
    return [f"{f.level} {f.message}" for f in ([found] if isinstance(found, Finding) else found)]


def test_every_warning_and_failure_has_a_remedy_and_nothing_else_has() -> None:
    findings = [
        *judge_versions(replace(VERSIONS, installed={"torch": "2.9.0"})),
        *judge_cores(replace(CORES, load=9.0, memory_free=GIB)),
        *judge_numbers(replace(NUMBERS, driver=True, forced={"NVIDIA_TF32_OVERRIDE": "1"})),
        *(judge_disk(Disk(subject=s, folder="/x", free=free, total=GIB)) for s in ROOMS for free in (0, GIB)),
        judge_store(replace(STORE, problem="no")),
        judge_data(DataSeen(here=("digits",), remedies=("cifar10: fetch it",), home="/data")),
        *judge_authentication(Authentication(mode="disabled", source="/x", readable=True)),
        *judge_listeners([listener("head", token=False), listener("dashboard"), listener("metrics")]),
        *judge_cluster("nothing answers", "./runs", []),
        *(found for seen in START for found in judge_start(seen)),
    ]
    assert all(bool(f.remedy) == (f.level != "OK") for f in findings)
    assert len({f.level for f in findings}) == 3


def test_versions_as_measured_are_one_line() -> None:
    assert lines(judge_versions(VERSIONS)) == [
        "OK python 3.11.7, torch 2.14.1, ray 2.60.0, pyarrow 26.0.1; all as in constraints.txt"
    ]


def test_without_a_checkout_the_declared_ranges_count() -> None:
    assert lines(judge_versions(replace(VERSIONS, measured={})))[0].endswith("; all as declared")


@pytest.mark.parametrize(("name", "floor", "hole"), HOLES)
def test_a_package_with_a_known_hole_fails_and_the_first_without_it_does_not(name: str, floor: str, hole: str) -> None:
    def holes(version: str) -> list[str]:
        found = judge_versions(replace(VERSIONS, installed=GOOD | {name: version}, required={}, measured={}))
        return [line for line in lines(found) if hole in line]

    assert holes("1.0") == [f"FAIL {name} 1.0 has {hole}"]
    assert holes(floor) == []


@pytest.mark.parametrize(
    ("installed", "line"),
    [
        pytest.param({"torch": "2.14.1"}, "FAIL ray is not installed", id="missing"),
        pytest.param(GOOD | {"ray": "2.61.0"}, "FAIL ray 2.61.0, but nrf_ray needs ray<2.61,>=2.60", id="range"),
        pytest.param(
            GOOD | {"torch": "2.15.0"},
            "WARN not the versions used for the measurements: torch 2.15.0 (not 2.14.1)",
            id="pin",
        ),
    ],
)
def test_other_versions_are_named(installed: dict[str, str], line: str) -> None:
    assert line in lines(judge_versions(replace(VERSIONS, installed=installed)))


def test_a_local_build_of_the_measured_version_is_that_version() -> None:
    assert lines(judge_versions(replace(VERSIONS, installed=GOOD | {"torch": "2.14.1+cpu"})))[0].startswith("OK")


@pytest.mark.parametrize("subject", ROOMS)
def test_disks_fail_and_warn_below_their_own_bounds(subject: str) -> None:
    room = ROOMS[subject]

    def level(free: float) -> str:
        return judge_disk(Disk(subject=subject, folder="/x", free=free, total=10 * room.warn)).level

    assert level(room.warn) == "OK"
    assert level(room.warn - 1) == "WARN"
    assert level(room.fail) == "WARN"
    assert room.fail == 0 or level(room.fail - 1) == "FAIL"


def test_a_large_disk_that_is_nearly_full_stops_ray_too() -> None:
    found = judge_disk(Disk(subject="/tmp", folder="/tmp", free=40 * GIB, total=1000 * GIB))
    assert (found.level, "less than 5%" in found.message) == ("WARN", True)


def test_cores_and_memory() -> None:
    assert [f.level for f in judge_cores(CORES)] == ["OK", "OK"]
    busy, scarce = lines(judge_cores(replace(CORES, load=2.1, memory_free=1.5 * GIB)))
    assert busy.startswith("WARN 2 of 64 cores usable")
    assert busy.endswith("load 2.1: other work is running")
    assert scarce == "WARN only 1.5 GiB of 16.0 GiB free"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, ["OK CPU: fp32 by AVX512, bf16 by avx512_bf16, amx"], id="cpu"),
        pytest.param(
            {"cpu": "AVX2", "cpu_bf16": ()},
            ["OK CPU: fp32 by AVX2, no bf16 instructions: bf16 would be slow"],
            id="old cpu",
        ),
        pytest.param({"gpus": (A100,)}, ["OK GPU: NVIDIA A100, 40.0 GiB, bf16, no TF32 in any stage"], id="gpu"),
        pytest.param(
            {"gpus": (replace(A100, bf16=False),), "tf32": ("convolutions",)},
            ["OK GPU: NVIDIA A100, 40.0 GiB, no bf16, convolutions in TF32"],
            id="gpu without bf16",
        ),
        pytest.param({"driver": True}, ["WARN there is an NVIDIA driver, but torch finds no GPU"], id="hidden gpu"),
        pytest.param(
            {"forced": {"NVIDIA_TF32_OVERRIDE": "0"}},
            ["WARN NVIDIA_TF32_OVERRIDE=0 overrides what stages ask for in TF32"],
            id="forced",
        ),
    ],
)
def test_precision(change: dict[str, object], expected: list[str]) -> None:
    found = lines(judge_numbers(replace(NUMBERS, **change)))  # type: ignore[arg-type]
    assert found[-1:] == expected
    assert len(found) == (1 if set(change) <= {"cpu", "cpu_bf16"} else 2)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, "OK s3://bucket/runs is writable", id="good"),
        pytest.param({"exists": False}, "OK s3://bucket/runs is writable; the first sweep creates it", id="new"),
        pytest.param({"problem": "access denied"}, "FAIL s3://bucket/runs: access denied", id="denied"),
        pytest.param(
            {"first_wins": False}, "FAIL s3://bucket/runs lets a second writer overwrite the first", id="race"
        ),
    ],
)
def test_store(change: dict[str, object], expected: str) -> None:
    assert lines(judge_store(replace(STORE, **change)))[0].startswith(expected)  # type: ignore[arg-type]


def test_data_that_is_not_here_is_no_fault_but_named_with_its_remedy() -> None:
    found = judge_data(
        DataSeen(here=("digits", "cifar10"), remedies=("cifar100: run `nrf fetch cifar100`",), home="/data")
    )
    assert found.level == "OK"
    assert "digits, cifar10" in found.message
    assert "nrf fetch cifar100" in found.message


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(("token", "/x/token", False), ["OK RAY_AUTH_MODE=token, a token in /x/token"], id="on"),
        pytest.param(("token", None, False), ["WARN RAY_AUTH_MODE=token, but there is no token"], id="no token"),
        pytest.param((None, None, False), ["OK a sweep on this machine turns token authentication on"], id="unset"),
        pytest.param(("disabled", None, False), ["FAIL RAY_AUTH_MODE=disabled: anyone who reaches"], id="off"),
        pytest.param(
            ("token", "/x/token", True), ["OK RAY_AUTH_MODE=token", "WARN other users may read /x/token"], id="readable"
        ),
    ],
)
def test_authentication(seen: tuple[str | None, str | None, bool], expected: list[str]) -> None:
    mode, source, readable = seen
    found = lines(judge_authentication(Authentication(mode=mode, source=source, readable=readable)))
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("listeners", "expected"),
    [
        pytest.param([], ["OK no Ray runs on this machine"], id="none"),
        pytest.param(
            [listener("head", "127.0.0.1"), listener("raylet", "::1"), listener("agent", "::ffff:127.0.0.1")],
            ["OK Ray listens on this machine's own addresses only: head at 6379; raylet at 6379; agent at 6379"],
            id="loopback",
        ),
        pytest.param([listener("head")], ["OK open to the network, guarded by the token: head at 6379"], id="token"),
        pytest.param(
            [listener("worker", "10.0.0.1"), listener("worker", "::")],
            ["OK open to the network, guarded by the token: 2 workers"],
            id="workers",
        ),
        pytest.param(
            [listener("head", "::", token=False), listener("dashboard", "127.0.0.1", token=False)],
            ["FAIL without token authentication, anyone who reaches this machine can run code as you: head at 6379"],
            id="no token",
        ),
        pytest.param(
            [listener("client server", "10.0.0.1", port=10001, token=False)],
            ["FAIL without token authentication, anyone who reaches this machine can run code as you: client server"],
            id="client server",
        ),
        pytest.param(
            [listener("dashboard", port=8265)],
            [
                "OK open to the network, guarded by the token: dashboard at 8265",
                "WARN the dashboard is open to the network, where the token travels in clear text",
            ],
            id="dashboard",
        ),
        pytest.param(
            [listener("metrics", port=44217, token=False)],
            ["WARN Ray's metrics are open to the network without a token: metrics at 44217"],
            id="metrics",
        ),
    ],
)
def test_exposure(listeners: list[Listener], expected: list[str]) -> None:
    found = lines(judge_listeners(listeners))
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("seen", "store", "expected"),
    [
        pytest.param(None, "./runs", ["OK none is named, so sweeps start their own Ray on this machine"], id="none"),
        pytest.param("nothing answers", "./runs", ["FAIL nothing answers"], id="out of reach"),
        pytest.param(
            CLUSTER,
            "s3://bucket/runs",
            ["OK nodes: 2 with 16 CPUs and 2 GPUs (A100); free: 32 CPUs, 4 GPUs; dashboard http://127.0.0.1:8265"],
            id="good",
        ),
        pytest.param(
            replace(CLUSTER, nodes=(NODE, replace(NODE, cpus=4, gpus=0, kind="")), free_cpus=0.5),
            "/shared/runs",
            [
                "OK nodes: 1 with 16 CPUs and 2 GPUs (A100), 1 with 4 CPUs; free: 0.5 CPUs, 4 GPUs",
                "WARN no CPU is free",
                "WARN 2 nodes, and the store is the folder /shared/runs",
            ],
            id="busy, and a folder",
        ),
    ],
)
def test_cluster(seen: Survey | str | None, store: str, expected: list[str]) -> None:
    found = lines(judge_cluster(seen, store, []))
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


def test_data_that_can_be_kept_nowhere() -> None:
    nowhere = DataSeen(here=("digits",), remedies=(), problem="~/.cache begins with an unknown home folder")
    closed = replace(nowhere, home="/data/nrf", problem="you may not write to /data")
    found = [judge_data(nowhere), judge_data(closed)]
    assert [f"{f.level} {f.message}" for f in found] == [
        "FAIL ~/.cache begins with an unknown home folder",
        "WARN copies of data are stored in /data/nrf, and you may not write to /data",
    ]
    assert {f.remedy for f in found} == {"export NRF_DATA=/a/folder/that/you/may/write/to"}


def test_a_start_of_ray() -> None:
    assert [line for seen in START for line in lines(judge_start(seen))] == [
        "FAIL its sockets are long",
        "FAIL Ray does not start here: no Ray at this machine",
        "OK no known hindrance keeps Ray from starting here; a start was not tried (--no-start)",
        "OK a Ray started and ended here in 5 s",
        "WARN it started and ended in 99 s",
    ]


def test_a_head_that_runs_here_is_named_with_the_address_to_look_at() -> None:
    assert "--address 127.0.0.1:6379" in judge_cluster(None, "./runs", [listener("head")])[0].message
