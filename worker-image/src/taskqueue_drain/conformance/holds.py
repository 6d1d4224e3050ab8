"""Which frames of the broker the proxy holds back, so that rare orders of events become certain ones."""

from typing import Protocol

from .amqp_frames import Frame, Method
from .deliveries import Channel


class Hold(Protocol):
    """Decides about each frame, in the order of its arrival."""

    def from_worker(self, channel: Channel, frame: Frame) -> None:
        """The worker has sent a frame."""
        ...

    def takes(self, channel: Channel, frame: Frame) -> bool:
        """Whether this frame of the broker is held back."""
        ...


class AfterCancel:
    """Lets `basic.cancel-ok` pass, and holds what follows on the channel: the proof that no message follows."""

    def __init__(self) -> None:
        self._cancelled: set[Channel] = set()

    def from_worker(self, channel: Channel, frame: Frame) -> None:
        """See `Hold`."""
        if frame.method is Method.CANCEL:
            self._cancelled.add(channel)

    def takes(self, channel: Channel, frame: Frame) -> bool:
        """See `Hold`."""
        return channel in self._cancelled and frame.method is not Method.CANCEL_OK


class EachDelivery:
    """Holds the messages of a channel, and lets everything else pass: a message then arrives after the proof.

    Attributes:
        count: How many messages are held.
    """

    def __init__(self, channels: frozenset[Channel]) -> None:
        """Hold the messages of these channels."""
        self._channels = channels
        self._within: set[Channel] = set()
        self.count = 0

    def from_worker(self, channel: Channel, frame: Frame) -> None:
        """See `Hold`."""

    def takes(self, channel: Channel, frame: Frame) -> bool:
        """See `Hold`."""
        if channel not in self._channels:
            return False
        if frame.method is Method.DELIVER:
            self._within.add(channel)
            self.count += 1
        elif frame.method is not None:
            self._within.discard(channel)
        return channel in self._within
