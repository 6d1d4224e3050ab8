"""Ports of this machine's loopback."""

import random
import socket
from contextlib import ExitStack, suppress

# Not those that the kernel gives to outgoing connections: one of these may take a port between its choice and its use.
_RANGE = range(12000, 30000)


def free(count: int) -> list[int]:
    """Return so many ports on which no process listens, all different.

    Processes that ask at the same time get different ports, as far as chance can do that.
    """
    with ExitStack() as stack:
        return [_bound(stack) for _ in range(count)]


def _bound(stack: ExitStack) -> int:
    while True:
        port = random.choice(_RANGE)
        candidate = stack.enter_context(socket.socket())
        with suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a server accepts connections at the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0
