"""The images install what their code imports: the environment of the tests has more packages than the images."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Extras of taskqueue_drain that the worker image does not have.
ADAPTERS = {"amqp", "billiard", "celery", "dramatiq", "faststream", "kombu", "pika", "taskiq"}
# Extras of taskqueue_worker that the worker image does not have.
EXTRAS = {"opentelemetry", "pydantic", "pydantic_core", "pytest"}
OWN = {"taskqueue_drain", "taskqueue_operator", "taskqueue_worker"}


def imported(folder: Path) -> Iterator[str]:
    for module in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("folder", "requirements"),
    [
        ("operator/taskqueue_operator", "requirements/operator.txt"),
        ("worker-image/src/taskqueue_drain", "worker-image/requirements.txt"),
        ("worker-image/src/taskqueue_worker", "worker-image/requirements.txt"),
    ],
)
def test_every_imported_package_is_installed_in_the_image(folder: str, requirements: str) -> None:
    names = re.findall(r"^([A-Za-z0-9_-]+)==", (ROOT / requirements).read_text(), flags=re.MULTILINE)
    installed = {name.replace("-", "_") for name in names}
    assert set(imported(ROOT / folder)) - sys.stdlib_module_names - OWN - ADAPTERS - EXTRAS <= installed
