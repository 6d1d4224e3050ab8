"""Which messages of a channel are unacknowledged, and how those are acknowledged whose tasks have ended."""

import struct
from collections.abc import Callable
from typing import Final, Protocol

_ACK: Final = struct.Struct(">BHIHHQ?B")
"""A frame of the method `basic.ack`: type, channel number, size, class, method, delivery tag, multiple, end."""


class Connection(Protocol):
    """What frames are sent on."""

    @property
    def is_open(self) -> bool:
        """Whether frames can be sent, as far as is known here."""
        ...

    def write(self, frames: bytes) -> None:
        """Send complete frames."""
        ...


class Acknowledgements:
    """Acknowledges by one frame what ends together, as far as nothing before it is still unacknowledged.

    So a frame never acknowledges a message whose task has not ended, or which was requeued.
    """

    def __init__(self, channel: int, connection: Connection, soon: Callable[[Callable[[], None]], object]) -> None:
        """Begin before the first delivery on the channel with this number; `soon` runs a call after what is due now."""
        self._channel = channel
        self._connection = connection
        self._soon = soon
        self._held: dict[int, None] = {}  # the tags of unacknowledged messages, in the order of their delivery
        self._ended: set[int] = set()
        self._is_closed = False

    def hold(self, tag: int) -> None:
        """A message was delivered."""
        self._held[tag] = None

    def acknowledge(self, tag: int) -> bool:
        """The task of a message has ended. False: the channel is lost, and the broker delivers the message again."""
        if self._is_closed or not self._connection.is_open:
            return False
        is_first = not self._ended
        self._ended.add(tag)
        if is_first:
            self._soon(self.send)
        return True

    def release(self, tag: int) -> None:
        """The broker was told that a message is requeued or rejected."""
        self._held.pop(tag, None)

    def close(self) -> None:
        """The broker has closed the channel: after the answer to that, a frame on it would end the connection."""
        self._is_closed = True

    def send(self) -> None:
        """Acknowledge at once what has ended."""
        ended, self._ended = self._ended, set()
        last = 0
        for tag in self._held:
            if tag not in ended:
                break
            last = tag
        alone = sorted(tag for tag in ended if tag > last)
        for tag in ended:
            self._held.pop(tag, None)
        frames = [self._frame(last, multiple=True)] if last else []
        if ended and not self._is_closed:
            self._connection.write(b"".join([*frames, *(self._frame(tag, multiple=False) for tag in alone)]))

    def _frame(self, tag: int, *, multiple: bool) -> bytes:
        return _ACK.pack(1, self._channel, 13, 60, 80, tag, multiple, 0xCE)
