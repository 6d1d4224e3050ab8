"""Processes that tasks run in, by the files to which the tasks write their numbers."""

from pathlib import Path

from tests.cluster.progress import until

SECONDS = 60


def exists(pid: int) -> bool:
    """Return whether a process exists that is no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_for_end(*pids: int) -> None:
    """Wait until none of these processes exists."""
    until(lambda: not any(map(exists, pids)), f"the processes {pids} end", seconds=SECONDS)


def numbers(file: Path) -> list[int]:
    """Wait until a task has written the numbers of its processes, and return them."""
    until(lambda: file.exists() and file.read_text().endswith("\n"), "the task runs", seconds=SECONDS)
    return [int(number) for number in file.read_text().split()]


def parent(pid: int) -> int:
    """Return the number of the parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
