"""Headway: loops inside loops make one share, which never goes back, and a damaged report is none."""

import json
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.graph import headway
from nrf_ray.graph.headway import Headway, begin, current, loop, over


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test moves: the seconds since it began."""
    now = [0.0]
    monkeypatch.setattr(headway.time, "monotonic", lambda: now[0])
    begin()
    return now


def test_an_epoch_and_a_half_of_four_known_values(clock: list[float]) -> None:
    with loop(4, "epochs", images=400) as epochs:
        clock[0] = 2.0
        epochs.advance(loss=0.41234, accuracy=0.8712)
        batches = over(range(4), "batches")
        next(batches), next(batches), next(batches)
        clock[0] = 3.0
        told = current()
    assert told == Headway(
        unit="epochs",
        done=1,
        total=4,
        share=0.375,
        values={"loss": 0.41234, "accuracy": 0.8712},
        rate=50.0,
        left=5.0,
    )
    assert told.text == "1 of 4 epochs, loss 0.412, accuracy .871, 50 images/s"
    assert current() is None, "no loop is at work"


def test_a_training_that_resumes_is_paced_by_its_own_epochs(clock: list[float]) -> None:
    with loop(10, "epochs", images=1000, done=8) as epochs:
        assert (current().share, current().left, current().rate) == (0.8, None, None)
        clock[0] = 3.0
        epochs.advance()
        told = current()
    assert (told.done, told.before, told.left, told.rate) == (9, 0.8, pytest.approx(3.0), pytest.approx(100 / 3))


def test_shards_have_the_rate_of_the_batches_in_them(clock: list[float]) -> None:
    with loop(3, "shards"):
        batches = over(range(2), "batches", images=64)
        next(batches), next(batches)
        clock[0] = 2.0
        told = current()
    assert (told.text, told.share) == ("0 of 3 shards, 16 images/s", pytest.approx(1 / 6))


def test_a_share_does_not_go_back_when_a_loop_inside_is_over_and_its_step_is_not() -> None:
    shares = []
    with loop(2, "attacks") as attacks:
        for _ in range(2):
            for _ in over(range(2), "batches"):
                shares.append(current().share)
            shares.append(current().share)
            attacks.advance()
            shares.append(current().share)
    assert shares == [0.0, 0.25, 0.5, 0.5, 0.5, 0.75, 1.0, 1.0]


def test_an_error_leaves_no_loop_behind_also_when_its_generators_end_late() -> None:
    late = over(range(3), "batches")

    def fails() -> None:
        with loop(2, "epochs"):
            next(late)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert current() is None
    with loop(2, "epochs"):
        for _ in over(range(2), "batches"):
            late.close()
            assert current().share in (0.0, 0.25), "the loop inside still counts"


def test_a_new_stage_begins_without_the_loops_of_the_last() -> None:
    lost = over(range(3), "batches")
    next(lost)
    assert current() is not None
    begin()
    assert current() is None


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_the_share_of_nested_loops_grows_evenly_from_0_to_1(sizes: list[int]) -> None:
    shares: list[float] = []

    def work(rest: list[int]) -> None:
        if not rest:
            shares.append(current().share)
            return
        for _ in over(range(rest[0]), "batches"):
            work(rest[1:])

    begin()
    work(sizes)
    n = math.prod(sizes)
    assert shares == [pytest.approx(i / n) for i in range(n)]


def test_items_pass_through_in_order_and_only_when_asked_for() -> None:
    asked = []

    def items():
        for i in range(3):
            asked.append(i)
            yield i

    passed = over(items(), "batches", total=3)
    assert asked == []
    assert next(passed) == 0
    assert asked == [0]
    assert list(passed) == [1, 2]


VALID = Headway(unit="epochs", done=1, total=4, share=0.3, values={"loss": 1.5}, rate=10.0, left=2.0)


def test_a_report_survives_its_journey() -> None:
    assert Headway.from_bytes(VALID.to_bytes()) == VALID


@given(
    st.sampled_from(sorted(VALID.to_json())),
    st.one_of(
        st.none(), st.text(), st.floats(), st.integers(), st.lists(st.integers()), st.dictionaries(st.text(), st.text())
    ),
)
def test_a_report_with_a_strange_value_is_none_or_can_be_shown(name: str, value: object) -> None:
    found = Headway.from_json({**VALID.to_json(), name: value})
    if found is not None:
        assert 0 <= found.share <= 1
        assert found.text
        assert Headway.from_bytes(found.to_bytes()) == found


@pytest.mark.parametrize("data", [None, b"", b"{", b"[]", b"null", b"{}", b"[" * 100_000, b"\xff"])
def test_what_is_no_report_is_none(data: bytes | None) -> None:
    assert Headway.from_bytes(data) is None


@pytest.mark.parametrize(
    "change",
    [
        {"unit": "miles"},
        {"done": 5},
        {"done": -1},
        {"share": 1.5},
        {"share": -0.1},
        {"left": -1.0},
        {"rate": math.inf},
        {"values": {"loss": "low"}},
        {"more": 1},
    ],
)
def test_a_report_that_cannot_be_true_is_none(change: dict[str, object]) -> None:
    assert Headway.from_json(json.loads(VALID.to_bytes()) | change) is None


def test_another_thread_may_ask_at_any_moment() -> None:
    stop, seen, errors = threading.Event(), set(), []

    def ask() -> None:
        while not stop.is_set():
            try:
                told = current()
            except Exception as error:
                errors.append(error)
                return
            seen.add(told and told.unit)

    asker = threading.Thread(target=ask)
    asker.start()
    for _ in range(100_000):
        for _ in over(range(3), "shards"):
            for _ in over(range(3), "batches"):
                pass
        if "shards" in seen:
            break
    stop.set()
    asker.join()
    assert errors == []
    assert "shards" in seen
