"""The check of words finds what it should find, and the list of words can be read."""

from pathlib import Path

import pytest

from tests import words

SOURCE = '''
def apply(each: int) -> None:
    """The Widget ends."""
    for each in range(each):
        there = each
    [widget for widget in ()]
'''


def find(line: str, path: str = "module.py") -> list[tuple[int, str]]:
    return [(found.line, found.found) for found in words.find(words.read_words(line), [(Path(path), SOURCE)])]


def test_a_text_is_found_wherever_it_stands_in_any_case() -> None:
    assert find(r"text  \bwidget ends\b  worker") == [(3, "Widget ends")]
    assert find(r"text  \bwidget ends\b  worker", "page.md") == [(3, "Widget ends")]


def test_a_variable_is_found_as_parameter_and_where_it_is_assigned() -> None:
    assert sorted(find("variable  each  the noun")) == [(2, "each"), (4, "each")]
    assert find("variable  there  actual") == [(5, "there")]
    assert find("variable  widget  worker") == [(6, "widget")]
    assert find("variable  each  the noun", "page.md") == []


def test_a_variable_may_be_retired_in_the_product_alone() -> None:
    assert find("product  there  actual", "operator/module.py") == [(5, "there")]
    assert find("product  there  actual", "tests/module.py") == []


@pytest.mark.parametrize("line", ["text  word", "verb  go  remove", "word"])
def test_a_line_without_a_better_word_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="three columns"):
        words.read_words(line)


def test_the_list_can_be_read() -> None:
    assert words.read_words(words.LIST.read_text())
