"""Links lead somewhere, every sweep is described, and every claim has its number and its command."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks, commands
from tests.sweeps import FILES

CLAIMS = sorted(page for page in (ROOT / "analysis" / "claims").glob("*.md") if page.name != "README.md")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Return what GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        assert "://" not in link, "pages link to nothing outside: that no test could follow"
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_fences_say_what_they_are(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= {"", "sh", "python"}


@pytest.mark.parametrize("page", CLAIMS, ids=lambda page: page.stem)
def test_a_claim_has_its_number_ours_a_command_and_what_would_change_our_mind(page: Path) -> None:
    text = page.read_text()
    for part in ("**The claim**", "number", "## Ours", "## The command", "## What would change our mind"):
        assert part in text
    assert any(command.words[1].startswith("sweeps/") for command in commands(page))
    assert f"]({page.name})" in (page.parent / "README.md").read_text()


def test_readme_and_guide_name_every_sweep() -> None:
    for page in (ROOT / "README.md", ROOT / "analysis" / "guide.md"):
        named = set(re.findall(r"(\w+)\.py`", page.read_text()))
        assert set(FILES) <= named


def test_pictures_of_pages_are_small_and_ours() -> None:
    pictures = [
        page.parent / found for page in PAGES for found in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())
    ]
    assert pictures
    for picture in pictures:
        assert picture.suffix == ".svg"
        assert picture.stat().st_size < 200_000


def test_the_tour_is_the_contract_of_the_layers() -> None:
    tour = (ROOT / "CONTRIBUTING.md").read_text().partition("## The tour")[2].split("```")[1].strip().splitlines()
    shown = [re.split(r"\s{2,}", line)[0].split(" | ") for line in tour if not line.startswith("sweeps/")]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [layer.replace("nrf_ray.", "").split(" | ") for layer in contracts[0]["layers"]]
    assert shown == layers
    rooms = {
        path.stem for path in (ROOT / "nrf_ray").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert rooms - {"__init__"} == {room for layer in layers for room in layer}
