"""Asks the endpoints of the worker as the kubelet does."""

import asyncio
import socket
from typing import Final

PROBE_SECONDS: Final = 5


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def status_code(port: int, path: str) -> int | None:
    """Return the status code of a GET request; None without an answer."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n".encode())
                version, code, *_ = (await reader.readline()).split(None, 2)
                return int(code) if version.startswith(b"HTTP/") else None
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None
