"""The file of approved messages holds what tests use, and nothing else."""

from pathlib import Path

from tests.approved import read_approved

TESTS = Path(__file__).parents[1]


def test_every_approved_message_is_used_by_a_test() -> None:
    sources = "\n".join(path.read_text() for path in TESTS.rglob("*.py"))
    assert [key for key in read_approved() if f'"{key}"' not in sources] == []
