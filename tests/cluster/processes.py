"""Processes that outlive the one that started them, and are found again by what was written down."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

_ROOT = Path(__file__).parents[2]


class Processes:
    """The processes of one directory: a record and a log for each name.

    Each leads a process group of its own, and is ended with it. The record holds the pid and when it was born, so
    that a number the kernel has given to another process since is never signalled.
    """

    # Of all instances: one may end what another has started, and a child that is forgotten while it runs is a warning.
    _children: ClassVar[dict[int, subprocess.Popen[bytes]]] = {}

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._guardian: subprocess.Popen[bytes] | None = None

    def guard(self) -> None:
        """End all of them when this process goes, however it goes."""
        self.directory.mkdir(parents=True, exist_ok=True)
        # The package imports this very module, of which `-m` warns.
        quiet = ["-W", "ignore:'tests.cluster.processes' found:RuntimeWarning"]
        argv = [sys.executable, *quiet, "-m", "tests.cluster.processes", str(self.directory)]
        self._guardian = subprocess.Popen(
            argv, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def spawn(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        """Start `argv` under this name, its output appended to the log, and return its pid."""
        for folder in ("pids", "logs"):
            (self.directory / folder).mkdir(parents=True, exist_ok=True)
        environment = None if env is None else {**os.environ, **env}
        with self.log(name).open("ab") as log:
            child = subprocess.Popen(
                argv,
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._children[child.pid] = child
        born = _stat(child.pid)
        (self.directory / "pids" / name).write_text(f"{child.pid} {born.born if born else 0}")
        return child.pid

    def log(self, name: str) -> Path:
        """The file with the output of process `name`."""
        return self.directory / "logs" / f"{name}.log"

    def names(self) -> list[str]:
        """All that were started and not stopped."""
        return sorted(path.name for path in (self.directory / "pids").glob("*"))

    def pid(self, name: str) -> int | None:
        """The pid, if that process is still the one that was started and alive."""
        try:
            pid, born = map(int, (self.directory / "pids" / name).read_text().split())
        except (FileNotFoundError, ValueError):
            return None
        if pid in self._children:
            self._children[pid].poll()
        found = _stat(pid)
        return pid if found and found.born == born and found.state != "Z" else None

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to the process and what it started."""
        if pid := self.pid(name):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

    def stop(self, name: str, *, grace: float = 10) -> None:
        """Ask it to end, then make it; returns when nothing of it is left."""
        pid = self.pid(name)
        if pid:
            self.signal(name, signal.SIGTERM if grace else signal.SIGKILL)
            self.signal(name, signal.SIGCONT)
            if not self._gone(pid, grace):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
                self._gone(pid, 10)
        (self.directory / "pids" / name).unlink(missing_ok=True)

    def stop_all(self, *, grace: float = 10) -> None:
        """Stop every one, the last started first, and the guardian."""
        records = sorted((self.directory / "pids").glob("*"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for record in records:
            self.stop(record.name, grace=grace)
        if self._guardian and self._guardian.stdin:
            self._guardian.stdin.close()
            self._guardian.wait()

    def tails(self, lines: int = 25) -> str:
        """The last lines of every log."""
        logs = sorted((self.directory / "logs").glob("*.log"))
        return "\n".join(f"--- {log.name}\n" + "\n".join(_last(log, lines)) for log in logs)

    def _gone(self, group: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while any(_members(group)):
            if group in self._children:
                self._children[group].poll()
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        if group in self._children:
            self._children.pop(group).wait()
        return True


class _Stat:
    def __init__(self, line: str) -> None:
        fields = line.rpartition(")")[2].split()
        self.state, self.parent, self.group, self.born = fields[0], int(fields[1]), int(fields[2]), int(fields[19])


def _stat(pid: int) -> _Stat | None:
    try:
        return _Stat(Path(f"/proc/{pid}/stat").read_text(errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def _everyone() -> Iterator[tuple[int, _Stat]]:
    for entry in os.listdir("/proc"):  # noqa: PTH208 - thousands of Path objects for nothing
        if entry.isdigit() and (found := _stat(int(entry))):
            yield int(entry), found


def _members(group: int) -> Iterator[int]:
    return (pid for pid, found in _everyone() if found.group == group and found.state != "Z")


def children(parent: int) -> list[int]:
    """The living processes that `parent` started."""
    return sorted(pid for pid, found in _everyone() if found.parent == parent and found.state != "Z")


def descendants(ancestor: int) -> list[int]:
    """The living processes below `ancestor`, parents before their children."""
    below = children(ancestor)
    return [*below, *(pid for child in below for pid in descendants(child))]


def _last(log: Path, lines: int) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-lines:]


def _stand_guard() -> None:
    sys.stdin.buffer.read()  # the other end closes when the guarded process is gone
    Processes(Path(sys.argv[1])).stop_all(grace=0)


if __name__ == "__main__":
    _stand_guard()
