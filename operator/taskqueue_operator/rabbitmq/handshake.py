"""The first words of an AMQP connection: who we are, which vhost we mean, and how the broker refuses."""

import asyncio
from http import HTTPStatus
from typing import Final, TypeVar

from pamqp import base, commands, frame
from pamqp.header import ProtocolHeader

from taskqueue_operator.resource.faults import BrokerFault

from . import faults
from . import frames as wire
from .endpoint import Endpoint

HEARTBEAT_SECONDS: Final = 15
MOST_CHANNELS: Final = 2047

Method = TypeVar("Method", bound=base.Frame)


class _Refused(Exception):
    """The broker closes the connection, and says why."""

    def __init__(self, close: commands.Connection.Close) -> None:
        super().__init__(close.reply_text)
        self.denied = close.reply_code == HTTPStatus.FORBIDDEN
        self.words = close.reply_text


async def handshake(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, endpoint: Endpoint, name: str
) -> commands.Connection.TuneOk:
    """Open the connection under a name that the broker shows for it, and return what was agreed upon.

    The caller sets the timeout.

    Raises:
        BrokerFault: The broker refuses the user or the vhost.
        OSError, EOFError: The connection is lost, or the other side speaks another language (`NotAmqp`).
    """
    try:
        writer.write(ProtocolHeader(0, 9, 1).marshal())
        await _read(reader, commands.Connection.Start)
        _write(writer, _credentials(endpoint, name))
        terms = _agree(await _read(reader, commands.Connection.Tune))
    except _Refused as refused:
        raise (faults.wrong_password(endpoint) if refused.denied else _no_vhost(endpoint, refused.words)) from None
    _write(writer, terms)
    _write(writer, commands.Connection.Open(endpoint.vhost))
    try:
        await _read(reader, commands.Connection.OpenOk)
    except _Refused as refused:
        raise _no_vhost(endpoint, refused.words) from None
    return terms


def _credentials(endpoint: Endpoint, name: str) -> commands.Connection.StartOk:
    return commands.Connection.StartOk(
        # Without this capability a refused password would be a connection that is torn without a word.
        {"connection_name": name, "capabilities": {"authentication_failure_close": True}},
        mechanism="PLAIN",
        response=f"\0{endpoint.username}\0{endpoint.password}",
        locale="en_US",
    )


def _agree(offer: commands.Connection.Tune) -> commands.Connection.TuneOk:
    """Take no more than is offered, where 0 stands for no limit."""
    return commands.Connection.TuneOk(
        channel_max=min(offer.channel_max or MOST_CHANNELS, MOST_CHANNELS),
        frame_max=offer.frame_max,
        heartbeat=min(offer.heartbeat or HEARTBEAT_SECONDS, HEARTBEAT_SECONDS),
    )


def _no_vhost(endpoint: Endpoint, words: str) -> BrokerFault:
    """Tell apart what has one code, by the broker's own words."""
    if words.endswith(" not found"):
        return faults.no_vhost(endpoint)
    if words.endswith(f"refused for user '{endpoint.username}'"):
        return faults.vhost_forbidden(endpoint, endpoint.username)
    return faults.vhost_refused(endpoint, words)


def _write(writer: asyncio.StreamWriter, method: base.Frame) -> None:
    writer.write(frame.marshal(method, 0))


async def _read(reader: asyncio.StreamReader, expected: type[Method]) -> Method:
    header = await reader.readexactly(wire.HEADER.size)
    kind, _, size = wire.HEADER.unpack(header)
    if kind == wire.HEARTBEAT:
        await reader.readexactly(size + 1)
        return await _read(reader, expected)
    if kind != wire.METHOD or size > wire.LONGEST:
        raise wire.NotAmqp
    method = wire.method((await reader.readexactly(size + 1))[:-1])
    if isinstance(method, commands.Connection.Close):
        raise _Refused(method)
    if not isinstance(method, expected):
        raise wire.NotAmqp
    return method
