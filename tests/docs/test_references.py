"""What the pages link to, and what docstrings cite of them, is there."""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(chain(ROOT.glob("*.md"), (ROOT / "docs").rglob("*.md")))
PACKAGES = ("advkd", "flows", "storage", "tests", "benchmarks")
LAW = re.compile(r"\b[Ll]aws? (\d+)(?:(?:, | and )(\d+))?")
SECTION = re.compile(r"method\.md (\d+(?:\.\d+)?)")
EQUATION = re.compile(r"method\.md \((\d+)\)")


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page in links."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def cited(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """The numbers that Python files cite by a pattern, each with its file."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for match in pattern.finditer(path.read_text(encoding="utf-8")):
                yield from ((number, str(path.relative_to(ROOT))) for number in match.groups() if number)


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            linked = page.parent / name if name else page
            if not linked.exists() or (anchor and anchor not in anchors(linked)):
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_every_law_that_code_cites_is_stated() -> None:
    laws = set(re.findall(r"^(\d+)\. \*\*", (ROOT / "docs" / "store.md").read_text(encoding="utf-8"), re.MULTILINE))
    citations = list(cited(LAW))
    assert len(citations) > 10
    assert [citation for citation in citations if citation[0] not in laws] == []


def test_every_section_and_equation_that_code_cites_is_there() -> None:
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", text, re.MULTILINE))
    equations = set(re.findall(r" \((\d+)\)$", text, re.MULTILINE))
    citations = list(cited(SECTION))
    assert citations
    assert [citation for citation in citations if citation[0] not in sections] == []
    assert [citation for citation in cited(EQUATION) if citation[0] not in equations] == []
