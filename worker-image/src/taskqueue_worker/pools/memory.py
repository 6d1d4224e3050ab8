"""How much memory a process holds of its own."""

import os
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def held_bytes(process: int | str = "self") -> int:
    """Return the resident memory that is no file's; 0 if the process has ended.

    Resident, and not reserved: numpy's linear algebra reserves tens of MiB per core of the node, as do memory pools,
    thread stacks and GPU drivers, and use little of it. A resource limit (RLIMIT_AS, RLIMIT_DATA) counts reservations.
    Where it is met, such libraries end the process, and raise no MemoryError.
    """
    try:
        resident, shared = Path(f"/proc/{process}/statm").read_bytes().split()[1:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * _PAGE_BYTES
