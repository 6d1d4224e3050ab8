"""Applications as real processes, with the adapter of their runtime."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from typing_extensions import override

from tests.cluster.packages import installed
from tests.integration.harness.worker_process import WorkerProcess

HERE: Final = Path(__file__).parent
SOURCE: Final = Path(__file__).parents[3] / "worker-image/src"


@dataclass(frozen=True)
class Runtime:
    """A runtime under test.

    Attributes:
        name: Its name.
        command: How its worker starts, after the Python interpreter.
        requirements: Name of its pinned requirements; None if the packages of the tests suffice.
        declares: Whether it declares its queues, as dramatiq does.
    """

    name: str
    command: tuple[str, ...]
    requirements: str | None = None
    declares: bool = False

    @override
    def __str__(self) -> str:
        return self.requirements or self.name

    def python_path(self) -> str:
        """Where its packages, the adapter and the application are."""
        own = [] if self.requirements is None else [packages(self.requirements)]
        return os.pathsep.join(map(str, (*own, SOURCE, HERE)))


def packages(name: str) -> Path:
    """The directory with the packages of the requirements of this name."""
    return installed(HERE / f"{name}.txt")


class RunningApplication(WorkerProcess):
    """The process of an application."""

    def __init__(self, directory: Path, name: str, runtime: Runtime, variables: Mapping[str, str]) -> None:
        path = {"PYTHONPATH": runtime.python_path()}
        super().__init__(directory, name, (sys.executable, *runtime.command), path | dict(variables), folder=HERE)
