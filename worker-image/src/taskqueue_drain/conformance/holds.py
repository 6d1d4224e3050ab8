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


class LateMessage:
    """Holds the messages of a channel, and what `AfterCancel` holds: the messages then arrive after `basic.cancel-ok`.

    Attributes:
        messages: How many messages are held.
        answers: How many frames are held that follow `basic.cancel-ok`.
    """

    def __init__(self, channels: frozenset[Channel]) -> None:
        """Hold the messages of these channels."""
        self._channels = channels
        self._within: set[Channel] = set()
        self._after_cancel = AfterCancel()
        self.messages = self.answers = 0

    def from_worker(self, channel: Channel, frame: Frame) -> None:
        """See `Hold`."""
        self._after_cancel.from_worker(channel, frame)

    def takes(self, channel: Channel, frame: Frame) -> bool:
        """See `Hold`."""
        if self._is_message(channel, frame):
            return True
        is_answer = self._after_cancel.takes(channel, frame)
        self.answers += is_answer
        return is_answer

    def _is_message(self, channel: Channel, frame: Frame) -> bool:
        if frame.method is Method.DELIVER and channel in self._channels:
            self._within.add(channel)
            self.messages += 1
        elif frame.method is not None:
            self._within.discard(channel)
        return channel in self._within
