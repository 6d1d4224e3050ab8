"""The rights of broker users as docs/topology.md#permissions grants them: tests use those of the page."""

import re
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

PAGE: Final = Path(__file__).parents[1] / "docs/topology.md"
EXAMPLE: Final = "thumbnails"
"""The queue, and the exchange, of the page."""
RIGHTS: Final = ("configure", "write", "read")
User = Literal["operator", "worker"]


class Grant(NamedTuple):
    """One right on the exchanges and queues whose name matches a regular expression."""

    right: str
    pattern: str


ALL: Final = frozenset(Grant(right, ".*") for right in RIGHTS)
"""For workers whose library declares objects of its own."""


def documented(user: User, queue: str, exchange: str) -> frozenset[Grant]:
    """Return what the page grants to a user for one TaskQueue."""
    return frozenset(
        Grant(right, _pattern(name.replace(EXAMPLE, exchange if kind else queue)))
        for kind, name, rights in _rows()
        for right in rights[user]
    )


def permissions(grants: Collection[Grant]) -> dict[str, str]:
    """Return the permissions of a user with these rights, as RabbitMQ takes them."""
    names = {right: sorted(grant.pattern for grant in grants if grant.right == right) for right in RIGHTS}
    return {right: f"^({'|'.join(patterns)})$" for right, patterns in names.items()}


@cache
def _rows() -> list[tuple[str, str, Mapping[User, list[str]]]]:
    """Return the rows of the table: whether it is the exchange of publishers, the name, the rights of each user."""
    section = PAGE.read_text().partition("\n## Permissions\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (exchange )?(?:queue )?`([^`]+)` \| ([a-z, ]*)\| ([a-z, ]*)\|", section, re.MULTILINE)
    found: list[tuple[str, str, Mapping[User, list[str]]]] = [
        (kind, name, {"operator": re.findall(r"\w+", operator), "worker": re.findall(r"\w+", worker)})
        for kind, name, operator, worker in rows
    ]
    assert found, "the page has the table"
    return found


def _pattern(name: str) -> str:
    return re.escape(name).replace(r"\*", ".*").replace("<number>", "[0-9]+")
