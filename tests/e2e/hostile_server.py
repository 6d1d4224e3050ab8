"""Servers that are no brokers: what they do with a connection depends on its port. Runs in a pod, on Python alone."""

import asyncio

SILENT, CLOSING, FLOODING, DRIPPING = PORTS = range(7001, 7005)
"""Accepts and never answers; accepts and closes; answers HTTP without an end; answers HTTP one byte a second."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n["


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Handle one connection until the peer closes it."""
    port = writer.get_extra_info("sockname")[1]
    try:
        if port == SILENT:
            await reader.read()
        if port in {FLOODING, DRIPPING}:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEAD)
        while port in {FLOODING, DRIPPING}:
            writer.write(b" " * (65536 if port == FLOODING else 1))
            await writer.drain()
            await asyncio.sleep(0 if port == FLOODING else 1)
    except (OSError, EOFError):
        pass
    finally:
        writer.close()


async def serve() -> None:
    """Serve all ports."""
    servers = [await asyncio.start_server(handle, port=port) for port in PORTS]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(serve())
