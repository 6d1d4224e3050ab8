"""Ports of this machine's loopback."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from tests.cluster import cache

_RANGE = range(12000, 30000)


def free(count: int) -> list[int]:
    """Return so many ports on which no process listens, all different.

    Processes that ask at the same time get different ports, and a port is not given again before all others were: its
    user may need minutes to listen on it.
    """
    last = cache.home() / "last-port"
    with cache.locked(last.name):
        found = list(islice(_free_ports_after(_read(last)), count))
        last.write_text(str(found[-1]))
    return found


def _read(last: Path) -> int:
    with suppress(OSError, ValueError):
        return int(last.read_text())
    return _RANGE[-1]


def _free_ports_after(last: int) -> Iterator[int]:
    # An outgoing connection may take a port of the kernel's range between its choice and its use.
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for step in range(1, len(_RANGE) + 1):
        port = _RANGE[(last + step - _RANGE.start) % len(_RANGE)]
        if not lowest <= port <= highest and _can_listen(port):
            yield port


def _can_listen(port: int) -> bool:
    with socket.socket() as candidate, suppress(OSError):
        candidate.bind(("127.0.0.1", port))
        return True
    return False


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a server accepts connections at the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0
