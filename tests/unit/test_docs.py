"""The documents name fields, rooms, modules, tests and words that exist, and their links lead somewhere."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from taskqueue_operator.resource import crd
from taskqueue_operator.scaling.decision import LIMITING_REASONS

ROOT = Path(__file__).parents[2]
OPERATOR = ROOT / "operator/taskqueue_operator"
WORKER = ROOT / "worker-image/src/taskqueue_worker"

SCALING = (ROOT / "docs/scaling.md").read_text()
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()
GLOSSARY = (ROOT / "docs/glossary.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

INVARIANTS = 10


# The table of spec.scaling.


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        yield from leaves(field, f"{path}.{name}" if path else name)
    if "items" in schema and "properties" in schema["items"] and not path.endswith("policies"):
        yield from leaves(schema["items"], f"{path}[]")
    elif "properties" not in schema:
        yield path


def documented() -> Iterator[str]:
    rows = [line.split("|")[1] for line in SCALING.splitlines() if line.startswith("| `")]
    for row in rows:
        first, *others = re.findall(r"`([^`]+)`", row)
        parent = first.rpartition(".")[0]
        for name in (first, *(f"{parent}.{other}" if parent else other for other in others)):
            yield from (name.replace("*", way) for way in ("scaleUp", "scaleDown")) if "*" in name else (name,)


def test_the_table_of_scaling_has_every_field() -> None:
    root = crd.document()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = set(leaves(root["properties"]["spec"]["properties"]["scaling"]))
    named = {name for name in documented() if name != "schedules[].name"}
    assert named == fields - {"schedules[].name"}


def test_every_limit_is_named() -> None:
    assert {reason for reason in LIMITING_REASONS if f"`{reason}`" not in SCALING} == set()


# Links.


def anchors(page: Path) -> set[str]:
    """List the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        file, _, anchor = link.partition("#")
        target = (page.parent / file) if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", ["architecture", "glossary", "timing", "operations"])
def test_readme_and_contributing_lead_to_the_page(page: str) -> None:
    assert f"docs/{page}.md" in (ROOT / "README.md").read_text()
    assert page == "operations" or f"docs/{page}.md" in (ROOT / "CONTRIBUTING.md").read_text()


def test_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in ROOT.glob("docs/*.md") if f"docs/{page.name}" not in readme] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_every_make_target_on_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named
    assert named - targets == set()


# Architecture.


def resolve(path: str) -> Path | None:
    """Find the file or folder that a page names by its path in the repository, the operator or the worker."""
    places = (ROOT / path, OPERATOR / path, WORKER / path, WORKER.parent / path)
    return next((place for place in places if place.exists()), None)


def rooms() -> set[str]:
    return {f"{room.parent.relative_to(OPERATOR)}/" for room in OPERATOR.glob("**/__init__.py")} - {"./"}


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.stem)
def test_every_path_on_a_page_exists(page: Path) -> None:
    paths = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|\w+\.py)`", page.read_text())
    assert [path for path in paths if path.endswith((".py", "/")) and resolve(path) is None] == []


def test_architecture_has_every_room() -> None:
    table = ARCHITECTURE.partition("## The way of a message")[0]
    assert set(re.findall(r"^\| `([\w/]+/)` \|", table, re.MULTILINE)) == rooms()


@cache
def invariants() -> dict[int, list[tuple[str, str]]]:
    """Read the tests of each invariant, as (file, test), from the page."""
    found: dict[int, list[tuple[str, str]]] = {}
    for number, section in re.findall(r"^### (\d+)\. (.+?)(?=^### |\Z)", ARCHITECTURE, re.MULTILINE | re.DOTALL):
        file = ""
        for path, test in re.findall(r"`(tests/[\w/]+\.py)`|`(test_\w+)`", section):
            file = path or file
            found.setdefault(int(number), []).extend([(file, test)] if test else [])
    return found


@cache
def all_tests() -> set[tuple[str, str]]:
    """Give every test as (file, test)."""
    return {
        (str(path.relative_to(ROOT)), test)
        for path in ROOT.glob("tests/**/test_*.py")
        for test in re.findall(r"def (test_\w+)", path.read_text())
    }


@pytest.mark.parametrize("number", range(1, INVARIANTS + 1))
def test_every_test_that_is_named_for_an_invariant_exists(number: int) -> None:
    named = invariants()[number]
    assert named
    assert set(named) - all_tests() == set()


@pytest.mark.parametrize("number", range(1, INVARIANTS + 1))
def test_every_test_of_an_invariant_is_on_the_page(number: int) -> None:
    tests = {(file, test) for file, test in all_tests() if test.startswith(f"test_invariant_{number}_")}
    assert tests - set(invariants()[number]) == set()


# Glossary.


@cache
def source(path: str) -> str:
    file = resolve(path)
    return file.read_text() if file is not None else ""


@cache
def all_sources() -> str:
    return "\n".join(path.read_text() for folder in (OPERATOR, WORKER) for path in folder.rglob("*.py"))


def glossary() -> Iterator[tuple[str, str]]:
    """Give each word with what the glossary says where it is in the code."""
    for row in re.findall(r"^\|(?! word | ---)(.+)\|$", GLOSSARY, re.MULTILINE):
        word, _, code, _ = (cell.strip() for cell in row.split("|"))
        yield word, code


def missing(code: str) -> Iterator[str]:
    """Find the names that are not in the files that stand before them; a metric is in any."""
    for part in code.split("; "):
        path, *names = re.findall(r"`([^`]+)`", part)
        if path.endswith(".py"):
            yield from () if source(path) else (path,)
            yield from (name for name in names if not re.search(rf"\b{re.escape(name)}\b", source(path)))
        else:
            metric = re.sub(r"^taskqueue_(worker_)?|_total$", "", path)
            yield from () if re.search(rf"\b(taskqueue_)?{metric}\b", all_sources()) else (path,)


@pytest.mark.parametrize(("word", "code"), [pytest.param(word, code, id=word) for word, code in glossary()])
def test_every_word_is_in_the_code_where_the_glossary_says(word: str, code: str) -> None:
    assert code, word
    assert list(missing(code)) == []


def test_words_are_in_the_glossary_once() -> None:
    words = [word for cell, _ in glossary() for word in cell.split(", ")]
    assert sorted(words) == sorted(set(words))


# Operations.


def test_every_log_event_on_the_page_is_logged_at_its_level() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    events = re.findall(r"^\| `([^`]+)` \| (info|warning|error|critical) \|", page, re.MULTILINE)
    assert events
    calls = {(event, level) for level, event in re.findall(r'log\.(\w+)\(\s*"([^"]+)"', all_sources())}
    calls |= {(event, "error") for event, level in calls if level == "exception"}
    assert set(events) - calls == set()
