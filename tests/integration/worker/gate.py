"""A gate at which tasks of worker processes wait."""

from pathlib import Path

from typing_extensions import override


class Gate:
    """Closed until the test opens it. A file stands for the open gate, since tasks run in other processes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @override
    def __str__(self) -> str:
        return str(self._path)

    def open(self) -> None:
        self._path.touch()
