"""Nothing points nowhere: links, anchors, and the pages that files of the repository name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def without_code(page: Path) -> str:
    return CODE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as the site and hosts of repositories make them."""
    fenceless = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    made = set()
    for heading in re.findall(r"^#+ +(.+)$", fenceless, re.MULTILINE):
        kept = re.sub(r"[^\w\s-]", "", heading.lower())
        made.add(re.sub(r"\s+", "-", kept.strip()))
    return made


def links(page: Path) -> list[tuple[str, str]]:
    found = LINK.findall(without_code(page))
    return [(t.partition("#")[0], t.partition("#")[2]) for t in found if "://" not in t]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_an_anchor(page: Path) -> None:
    for path, anchor in links(page):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"there is no {path}"
        if anchor:
            assert anchor in anchors(target), f"{path} has no heading #{anchor}"


@pytest.mark.parametrize("page", PAGES[2:], ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_of_the_site_leads_out_of_it(page: Path) -> None:
    for path, _ in links(page):
        assert (page.parent / path).resolve().is_relative_to(ROOT / "docs"), path


def test_the_readme_leads_to_every_page_a_user_needs() -> None:
    seen, new = set(), {ROOT / "README.md"}
    while new:
        seen |= new
        new = {
            (page.parent / path).resolve()
            for page in new
            if page.suffix == ".md"
            for path, _ in links(page)
            if path
        } - seen
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in seen] == []


def test_every_page_is_in_the_menu_of_the_site_once() -> None:
    menu = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"(?:- |: )([\w./-]+\.md)$", menu, re.MULTILINE)
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES[2:])


NAMED = re.compile(r"(?<![\w/.])docs/[\w/-]+\.(?:md|py|svg|csv)")


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "examples", "training", "docs"])
def test_every_page_that_a_file_names_is_there(folder: str) -> None:
    files = [p for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".md")]
    if folder == "docs":
        files += [ROOT / "justfile", ROOT / "CHANGELOG.md", ROOT / "mkdocs.yml"]
    # The log tells of pages as they were called at the time.
    files = [p for p in files if p.name != "log.md"]
    named = {(p, name) for p in files for name in NAMED.findall(p.read_text("utf-8"))}
    assert [
        f"{p.relative_to(ROOT)}: {name}" for p, name in named if not (ROOT / name).exists()
    ] == []
