"""A process with all that it has started, directly or not: CPU and memory."""

import time
from pathlib import Path
from typing import Final

CPU_CLOCK: Final = 2
"""The clock of a process with which the scheduler counts nanoseconds, as `clock_getcpuclockid` builds its number."""


def processes(root: int) -> list[int]:
    """Return the numbers of a process and of its descendants."""
    parents = {int(folder.name): parent for folder in Path("/proc").glob("[0-9]*") if (parent := _parent(folder))}
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found


def cpu_seconds(root: int) -> float:
    """Return what those have used that have not ended."""
    return sum(map(_cpu_seconds, processes(root)))


def memory_mib(root: int) -> float:
    """Return their memory. A page that several processes share counts once."""
    return sum(map(_proportional_kib, processes(root))) / 1024


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return 0


def _cpu_seconds(process: int) -> float:
    try:
        return time.clock_gettime(~process << 3 | CPU_CLOCK)
    except OSError:  # it has ended
        return 0.0


def _proportional_kib(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # likewise
        return 0.0
    return next(float(line.split()[1]) for line in lines if line.startswith("Pss:"))
