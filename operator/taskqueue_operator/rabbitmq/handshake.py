"""Opens an AMQP connection: authentication, tuning, and the choice of the vhost."""

import asyncio
from http import HTTPStatus
from typing import Final, TypeVar

from pamqp import base, commands, frame
from pamqp.header import ProtocolHeader

from taskqueue_operator.resource.bounds import AMQP_FRAME_BYTES
from taskqueue_operator.resource.faults import BrokerFault

from . import faults, frames
from .endpoint import Endpoint

HEARTBEAT_SECONDS: Final = 15
MAX_CHANNELS: Final = 2047

Method = TypeVar("Method", bound=base.Frame)


class _Refused(Exception):
    """The broker closed the connection with a reason."""

    def __init__(self, close: commands.Connection.Close) -> None:
        super().__init__(close.reply_text)
        self.access_refused = close.reply_code == HTTPStatus.FORBIDDEN
        self.text = close.reply_text


async def handshake(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, endpoint: Endpoint, name: str
) -> commands.Connection.TuneOk:
    """Open the connection, which the broker shows under this name, and return the negotiated limits.

    The caller sets the timeout.

    Raises:
        BrokerFault: The broker refuses the user or the vhost.
        OSError, EOFError: The connection is lost, or the peer does not speak AMQP (`NotAmqp`).
    """
    try:
        writer.write(ProtocolHeader(0, 9, 1).marshal())
        await _read(reader, commands.Connection.Start)
        _write(writer, _credentials(endpoint, name))
        limits = _negotiate(await _read(reader, commands.Connection.Tune))
    except _Refused as refused:
        if refused.access_refused:
            raise faults.wrong_password(endpoint) from None
        raise _vhost_fault(endpoint, refused.text) from None
    _write(writer, limits)
    _write(writer, commands.Connection.Open(endpoint.vhost))
    try:
        await _read(reader, commands.Connection.OpenOk)
    except _Refused as refused:
        raise _vhost_fault(endpoint, refused.text) from None
    return limits


def _credentials(endpoint: Endpoint, name: str) -> commands.Connection.StartOk:
    return commands.Connection.StartOk(
        # Without this capability the broker closes the socket after a wrong password, without any reason.
        {"connection_name": name, "capabilities": {"authentication_failure_close": True}},
        mechanism="PLAIN",
        response=f"\0{endpoint.username}\0{endpoint.password}",
        locale="en_US",
    )


def _negotiate(offer: commands.Connection.Tune) -> commands.Connection.TuneOk:
    """Accept at most what the broker offers; its 0 means no limit."""
    return commands.Connection.TuneOk(
        channel_max=min(offer.channel_max or MAX_CHANNELS, MAX_CHANNELS),
        frame_max=offer.frame_max,
        heartbeat=min(offer.heartbeat or HEARTBEAT_SECONDS, HEARTBEAT_SECONDS),
    )


def _vhost_fault(endpoint: Endpoint, text: str) -> BrokerFault:
    """Distinguish by the broker's text what shares one reply code."""
    if text.endswith(" not found"):
        return faults.no_vhost(endpoint)
    if text.endswith(f"refused for user '{endpoint.username}'"):
        return faults.vhost_forbidden(endpoint, endpoint.username)
    return faults.vhost_refused(endpoint, text)


def _write(writer: asyncio.StreamWriter, method: base.Frame) -> None:
    writer.write(frame.marshal(method, 0))


async def _read(reader: asyncio.StreamReader, expected: type[Method]) -> Method:
    kind, _, size = frames.HEADER.unpack(await reader.readexactly(frames.HEADER.size))
    # A broker that needs several seconds to open a vhost sends one.
    if kind == frames.HEARTBEAT and size == 0:
        await reader.readexactly(1)
        kind, _, size = frames.HEADER.unpack(await reader.readexactly(frames.HEADER.size))
    if kind != frames.METHOD or size > AMQP_FRAME_BYTES:
        raise frames.NotAmqp
    method = frames.parse_method((await reader.readexactly(size + 1))[:-1])
    if isinstance(method, commands.Connection.Close):
        raise _Refused(method)
    if not isinstance(method, expected):
        raise frames.NotAmqp
    return method
