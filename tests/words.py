"""Finds words that do not come back: those of `tests/words.txt`, in every committed text. `python -m tests.words`."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
LIST: Final = Path(__file__).with_name("words.txt")

FOLDERS: Final = ("charts", "crds", "deploy", "docs", "operator", "tests", "worker-image")
SUFFIXES: Final = frozenset({".py", ".md", ".yaml", ".json", ".txt", ".tpl", ".toml"})
SKIPPED: Final = frozenset({"words.txt", "glossary.md", "requirements.txt"})
"""The list itself, the page that names words that are not used, and names of other people's packages."""

KINDS: Final = ("text", "variable", "product")
PRODUCT: Final = ("operator", "worker-image")
"""Folders of what is shipped."""

Source = tuple[Path, str]


class Word(NamedTuple):
    """One line of the list.

    Attributes:
        kind: `text`, `variable`, or `product`: a variable within operator and worker.
        pattern: For `text` what is searched for, otherwise the whole name.
        better: What to write instead.
    """

    kind: str
    pattern: re.Pattern[str]
    better: str


class Finding(NamedTuple):
    """A place where a word came back."""

    path: Path
    line: int
    found: str
    better: str


def read_words(text: str) -> list[Word]:
    """Read the list.

    Raises:
        ValueError: A line has not three columns, or another kind.
    """
    words = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        columns = re.split(r"\s{2,}", line.strip(), maxsplit=2)
        if len(columns) != len(Word._fields) or columns[0] not in KINDS:
            raise ValueError(f"{LIST.name}: {line!r} needs three columns: one of {KINDS}, the word, the better word.")
        kind, pattern, better = columns
        expression = re.compile(pattern, re.IGNORECASE) if kind == "text" else re.compile(rf"\b{pattern}\b")
        words.append(Word(kind, expression, better))
    return words


def find(words: Iterable[Word], sources: Iterable[Source]) -> Iterator[Finding]:
    """Find every place where one of the words stands."""
    words = list(words)
    for path, source in sources:
        occurring = [word for word in words if word.pattern.search(source)]
        for number, line in enumerate(source.splitlines() if occurring else (), start=1):
            yield from _find_in_line(occurring, path, number, line)
        if path.suffix == ".py":
            kinds = {"variable", "product"} if path.parts[0] in PRODUCT else {"variable"}
            yield from _find_variables([word for word in occurring if word.kind in kinds], path, source)


def _find_in_line(words: Iterable[Word], path: Path, number: int, line: str) -> Iterator[Finding]:
    for word in words:
        if word.kind == "text":
            yield from (Finding(path, number, found[0], word.better) for found in word.pattern.finditer(line))


def _find_variables(words: Sequence[Word], path: Path, source: str) -> Iterator[Finding]:
    for node in ast.walk(ast.parse(source)) if words else ():
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name, line = node.id, node.lineno
        elif isinstance(node, ast.arg):
            name, line = node.arg, node.lineno
        else:
            continue
        yield from (Finding(path, line, name, word.better) for word in words if word.pattern.fullmatch(name))


def committed_texts() -> Iterator[Source]:
    """Read every text that belongs to the repository."""
    files = [path for path in ROOT.iterdir() if path.is_file() and path.name != "LICENSE"]
    files += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    for path in sorted(files):
        if (path.suffix in SUFFIXES or path.name == "Makefile") and path.name not in SKIPPED:
            yield path.relative_to(ROOT), path.read_text()


def main() -> int:
    """Print what was found; returns the exit code."""
    findings = list(find(read_words(LIST.read_text()), committed_texts()))
    for finding in findings:
        print(f"{finding.path}:{finding.line}: {finding.found!r} does not come back. Better: {finding.better}")
    if findings:
        print(f"{len(findings)} words of tests/words.txt found. Use the word that docs/glossary.md has.")
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
