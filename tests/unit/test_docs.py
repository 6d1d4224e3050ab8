"""The documents name every field there is, and none that there is not."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taskqueue_operator.resource import crd
from taskqueue_operator.scaling.decision import LIMITING_REASONS

TEXT = (Path(__file__).parents[2] / "docs/scaling.md").read_text()
ROWS = [line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `")]


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, each in schema.get("properties", {}).items():
        yield from leaves(each, f"{path}.{name}" if path else name)
    if "items" in schema and "properties" in schema["items"] and not path.endswith("policies"):
        yield from leaves(schema["items"], f"{path}[]")
    elif "properties" not in schema:
        yield path


def documented() -> Iterator[str]:
    for row in ROWS:
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
    assert {why for why in LIMITING_REASONS if f"`{why}`" not in TEXT} == set()
