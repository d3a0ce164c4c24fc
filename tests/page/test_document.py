"""The page as HTML: what it says, that it is whole and well-formed, and that nothing in it comes from elsewhere."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from nrf_ray.display.printing import span
from nrf_ray.page.document import document
from nrf_ray.page.elements import count, listed
from nrf_ray.page.html import Html, el, join
from nrf_ray.page.progress import shortened
from nrf_ray.page.snapshot import Passage, RunState, Snapshot, Standing, Start
from tests.page.known import FACTS, HOSTILE, PNG, VECTORS, WORDS, fact, failed, finished, hostile, running

VOID = {"br", "hr", "img", "link", "meta"}


class Page(HTMLParser):
    """A page taken apart; refuses what is not nested properly."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: dict[str, list[str]] = {}
        self.feed(data.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.words.setdefault(self.open[-1], []).append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every `tag`."""
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag: str) -> str:
        """Return all that stands right in elements called `tag`."""
        return " ".join(self.words.get(tag, []))


PAGES = {"running": running, "finished": finished, "failed": failed, "hostile": hostile}


@pytest.mark.parametrize("make", PAGES.values(), ids=PAGES)
def test_a_page_is_whole_and_needs_nothing_from_elsewhere(make) -> None:
    page = Page(document(make()))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert page.all("html")[0]["lang"] == "en"
    for _, attributes in page.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert set((attributes.get(name) or "").split()) <= set(ids)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert (attributes.get("src") or "data:").startswith("data:")
        href = attributes.get("href") or "#"
        assert href == "data:," or (href.startswith("#") and href[1:] in {*ids, ""})
    assert all(attributes["alt"] for attributes in page.all("img"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert [len(page.all(tag)) for tag in ("header", "nav", "main", "footer", "script", "style")] == [1] * 6


@pytest.mark.parametrize("place", ["title", "heading", "sentence", "table", "chart", "cause", "path"])
def test_nothing_that_a_name_says_is_markup(place: str) -> None:
    data = document(hostile()).decode()
    assert "<script>alert" not in data
    assert "<img src=x" not in data
    shown = Page(data.encode())
    assert len(shown.all("script")) == 1
    where = {
        "title": "title",
        "heading": "h3",
        "sentence": "li",
        "table": "th",
        "chart": "text",
        "cause": "p",
        "path": "dd",
    }
    assert HOSTILE in "".join(shown.words[where[place]])


def test_a_child_that_is_no_html_is_escaped() -> None:
    assert el("p", "a < b & c", el("b", "d"), None) == "<p>a &lt; b &amp; c<b>d</b></p>"
    assert el("a", href='"><script>', hidden=True, title=None, open=False, cls="x") == (
        '<a href="&quot;&gt;&lt;script&gt;" hidden class="x"></a>'
    )
    assert el("rect", stroke_width=1.5, x=2.0) == '<rect stroke-width="1.5" x="2"></rect>'
    assert join(["<", Html("<br>")]) == "&lt;<br>"
    assert el("br") == "<br>"


def test_the_policy_allows_this_style_and_this_script_alone() -> None:
    data = document(finished()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', data)
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", data, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{rule} &#x27;sha256-{digest}&#x27;;" in policy
    assert policy.startswith("default-src &#x27;none&#x27;;")


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (running(), "running for 1 min 10 s, about 2 min left (3 min 20 s expected)"),
        (running(left=None, expected=None), "running for 1 min 10 s"),
        (finished(), "finished after 1 min 10 s (3 min 20 s expected)"),
        (failed(), "failed after 1 min 10 s (3 min 20 s expected)"),
        (running(state=RunState.INTERRUPTED), "interrupted after 1 min 10 s (3 min 20 s expected)"),
    ],
    ids=["running", "nothing expected", "finished", "failed", "interrupted"],
)
def test_the_head_says_how_it_stands(known: Snapshot, words: str) -> None:
    page = Page(document(known))
    said = f"{page.text('strong')}{page.text('p')}".lower()
    assert words.partition(" ")[0] in page.text("strong").lower()
    assert words.partition(" ")[2] in said


def test_a_finished_run_opens_with_what_it_shows() -> None:
    over, alive = Page(document(finished())), Page(document(running()))
    headings = [[text for text in page.words["h2"] if text.strip()] for page in (over, alive)]
    assert headings[0][0] == "What this run shows"
    assert headings[1].index("What this run shows so far") == 1 + headings[1].index("Progress")
    assert "than those of the control leak_det" in over.text("li")
    assert "What this run shows" not in document(finished(sentences=())).decode()


def test_only_the_page_of_a_running_sweep_loads_itself_again() -> None:
    alive, over = document(running()).decode(), document(finished()).decode()
    assert '<noscript><meta http-equiv="refresh"' in alive
    assert 'data-refresh="5"' in alive
    assert 'http-equiv="refresh"' not in over
    assert "data-refresh" not in over.partition("<style>")[0]


def test_charts_that_scroll_are_reached_by_the_keyboard_and_have_a_cue() -> None:
    """What the cue looks like is tested in a browser."""
    page = document(finished()).decode()
    regions = re.findall(r'<div class="scroll"([^>]*)><svg[^>]* class="chart"', page)
    assert regions
    assert all('role="region"' in region and 'tabindex="0"' in region for region in regions)
    assert ".scroll:has(> .chart) {" in page


def test_bars_say_in_words_what_they_show() -> None:
    page = Page(document(running()))
    bars = {attributes["aria-label"] for attributes in page.all("svg") if "aria-label" in attributes}
    assert "All stages: 1 kept from before, 1 done, 1 running, 1 ready, 1 waiting" in bars
    assert "construct: 1 done" in bars
    (whole,) = [parts for parts in re.findall(r'<svg class="bar".*?</svg>', document(running()).decode())][:1]
    assert re.findall(r'x="([\d.]+)%" y="0" width="([\d.]+)%"', whole) == [
        ("0.00", "20.00"), ("20.00", "20.00"), ("40.00", "20.00"), ("60.00", "20.00"), ("80.00", "20.00"),
    ]  # fmt: skip


def test_a_failure_has_its_cause_and_the_command_that_shows_it_all() -> None:
    page = Page(document(failed()))
    assert "ValueError: no" in page.text("p")
    assert "It blocks 1 other stage." in page.text("p")
    assert "Traceback (most recent call last)" in page.text("pre")
    assert f"nrf show {failed().failures[0].fact.key[:12]} --store /store" in page.text("code")
    assert "Failed: 1 stage. Left out because of that: 1 stage." in page.text("p")


def test_tracebacks_show_their_ends() -> None:
    long = "\n".join(f"line {i}" for i in range(40))
    assert shortened(long).splitlines()[7:10] == ["line 7", "... 24 lines ...", "line 32"]
    assert shortened("one\ntwo\n") == "one\ntwo"


def test_large_sweeps_are_summarised() -> None:
    facts = tuple(fact(f"stage {i}", Standing.WAITING) for i in range(10_000))
    last = fact("the last", Standing.RUNNING)
    data = document(running(stages=(*facts, last), working=()))
    page = Page(data)
    assert "1,000 of 10,001 stages" in page.text("summary")
    assert "the last" in page.text("th"), "what runs comes first"
    assert len(data) < 400_000


def test_a_store_without_curves_says_why() -> None:
    page = Page(document(finished(curves=(), curves_at=None)))
    assert "Curves are kept in local stores only." in page.text("p")
    assert "tensorboard" not in page.text("code")


def test_pictures_are_in_the_page() -> None:
    page = Page(document(finished()))
    sources = [attributes["src"] for attributes in page.all("img")]
    assert f"data:image/png;base64,{base64.b64encode(PNG).decode()}" in sources
    assert sum(source.startswith("data:image/svg+xml;base64,") for source in sources) == 1
    assert "a < b" in {attributes["alt"] for attributes in page.all("img")}


def test_texts_stand_beside_what_they_were_made_of_and_changes_are_marked_and_told() -> None:
    page = Page(document(finished(readings=(WORDS,))))
    assert (page.words["del"], page.words["ins"]) == (["dull"], ["bright"])
    assert "1 change: dull → bright" in page.text("p")
    assert "no word differs" in page.text("p")
    assert "are between words" not in page.text("p")
    assert "#texts" in {attributes.get("href") for attributes in page.all("a")}
    assert {"original", "constructed"} <= set(page.words["th"])


def test_of_vectors_it_is_said_that_there_is_nothing_to_read() -> None:
    page = Page(document(finished(readings=(VECTORS,))))
    assert "This set has no readable text" in page.text("p")
    assert "still nearest to its original word" in page.text("p")


@pytest.mark.parametrize(("start", "said"), [(Start.OTHER, "of another text"), (Start.NOISE, "of noise")])
def test_a_text_that_was_not_made_of_the_one_beside_it_has_no_changes(start: Start, said: str) -> None:
    page = Page(document(finished(readings=(replace(VECTORS, start=start),))))
    assert f"Each was made {said}, so no word is marked." in page.text("p")
    assert "text whose features it has" in page.text("th")
    assert {"a dull film", "a bright film"} <= set(page.words["span"])
    assert "ins" not in page.words


def test_word_by_word_are_compared_texts_whose_words_were_replaced_and_no_others() -> None:
    """Where the pieces of a word joined, every word behind it has moved."""
    passage = Passage(label="0 → 1", original="un seen and dull", constructed="unseen and so dull")
    marked = {
        nearest: Page(document(finished(readings=(replace(WORDS, nearest=nearest, passages=(passage,)),)))).words["ins"]
        for nearest in (False, True)
    }
    assert marked == {False: ["unseen", "and", "so"], True: ["unseen", "so"]}


def test_images_made_of_noise_say_so() -> None:
    known = finished()
    assert "made of noise" not in Page(document(known)).text("figcaption")
    of_noise = replace(known.galleries[0], factor=0.0)
    assert "Each was made of noise" in Page(document(finished(galleries=(of_noise,)))).text("figcaption")


def test_provenance_names_the_preset_and_the_data() -> None:
    page = Page(document(finished()))
    assert {"preset", "laptop"} <= {*page.words["dt"], *page.words["dd"]}
    assert "5d" * 32 in page.words["td"]
    assert "preset" not in Page(document(finished(preset=""))).words["dt"]


def test_a_page_of_a_sweep_without_anything_is_a_page() -> None:
    nothing = replace(finished(), stages=(), tables=(), scatters=(), curves=(), galleries=(), rows=(0, 0))
    nothing = replace(nothing, readings=(), pictures={})
    assert "0 of 0 rows are complete." in Page(document(nothing)).text("p")
    assert document(nothing) == document(nothing)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3600, "1 h"),
     (3661, "1 h 1 min"), (90_000, "1 d 1 h")],
)  # fmt: skip
def test_times_are_said_as_people_do(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_counts_have_their_noun() -> None:
    assert (count(1, "stage"), count(10_000, "stage"), count(2, "half", "halves")) == (
        "1 stage",
        "10,000 stages",
        "2 halves",
    )
    assert listed(["a", "b", "c"], 2) == "a, b and 1 more"
    assert listed(["a"], 2) == "a"
    assert FACTS[0].title == "source"
