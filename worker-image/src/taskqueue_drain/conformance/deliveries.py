"""What the broker delivered to the worker, and how the worker settled it: read from the frames between them."""

from typing import Final

from taskqueue_drain.protocol import EXCHANGE

from .amqp_frames import Frame, Method, delivery_tag, short_text

_MULTIPLE: Final = 1
_REQUEUE: Final = 2
_WITHOUT_ANSWER: Final = frozenset({Method.PUBLISH, Method.ACK, Method.NACK, Method.REJECT, Method.CHANNEL_CLOSE_OK})

Channel = tuple[int, int]
"""The number of a connection, and of a channel in it."""


class Deliveries:
    """Counts the deliveries from one queue.

    Attributes:
        delivered: Messages that were delivered, with those delivered again.
        acknowledged: Messages that were acknowledged.
        requeued: Messages that were returned with `basic.nack`.
        rejected: Messages that were returned or dropped in another way.
        lost: Messages that were neither, when their channel or connection was closed.
        synchronous: Methods with an answer that the worker has sent on the channels of its consumers.
        consuming: The channels of the consumers that the worker has not cancelled.
        tags: The tags of all consumers of the queue, in the order of their begin.
    """

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._unsettled: dict[Channel, set[int]] = {}
        self._reporting: set[int] = set()
        self.delivered = self.acknowledged = self.requeued = self.rejected = self.lost = self.synchronous = 0
        self.consuming: set[Channel] = set()
        self.tags: list[str] = []

    @property
    def unsettled(self) -> int:
        """Messages that the worker has now."""
        return sum(map(len, self._unsettled.values()))

    @property
    def channels(self) -> frozenset[Channel]:
        """The open channels on which the worker has consumed the queue."""
        return frozenset(self._unsettled)

    @property
    def share_connection(self) -> bool:
        """Whether a connection has consumers of the queue and carries reports too."""
        return any(connection in self._reporting for connection, _ in self._unsettled)

    def from_worker(self, connection: int, frame: Frame) -> None:
        """The worker has sent a frame."""
        channel = connection, frame.channel
        match frame.method:
            case Method.CONSUME:
                self._consume(channel, frame.arguments)
            case Method.CANCEL:
                self.consuming.discard(channel)
            case Method.PUBLISH if short_text(frame.arguments, 2)[0] == EXCHANGE:
                self._reporting.add(connection)
            case Method.ACK | Method.NACK | Method.REJECT if channel in self._unsettled:
                self._settle(channel, frame)
        if channel in self._unsettled and frame.method is not None and frame.method not in _WITHOUT_ANSWER:
            self.synchronous += 1
        if frame.method is Method.CHANNEL_CLOSE:
            self._close(channel)

    def to_worker(self, connection: int, frame: Frame) -> None:
        """The broker has sent a frame."""
        channel = connection, frame.channel
        if channel not in self._unsettled:
            return
        if frame.method is Method.DELIVER:
            _, start = short_text(frame.arguments, 0)
            self._unsettled[channel].add(delivery_tag(frame.arguments, start))
            self.delivered += 1
        elif frame.method is Method.CONSUME_OK:
            self._add_tag(short_text(frame.arguments, 0)[0])
        elif frame.method is Method.CHANNEL_CLOSE:
            self._close(channel)

    def closed(self, connection: int) -> None:
        """The connection was closed, by the worker, the broker or the kit."""
        for channel in [channel for channel in self._unsettled if channel[0] == connection]:
            self._close(channel)

    def _consume(self, channel: Channel, arguments: bytes) -> None:
        queue, end = short_text(arguments, 2)
        if queue == self._queue:
            self._unsettled.setdefault(channel, set())
            self.consuming.add(channel)
            self._add_tag(short_text(arguments, end)[0])

    def _add_tag(self, tag: str) -> None:
        """Add the tag of a consumer: the worker has chosen it, or else the broker has."""
        if tag and (not self.tags or self.tags[-1] != tag):
            self.tags.append(tag)

    def _settle(self, channel: Channel, frame: Frame) -> None:
        tag, bits = delivery_tag(frame.arguments), frame.arguments[8]
        held = self._unsettled[channel]
        is_multiple = frame.method is not Method.REJECT and bits & _MULTIPLE
        settled = {one for one in held if not tag or one <= tag} if is_multiple else held & {tag}
        held -= settled
        if frame.method is Method.ACK:
            self.acknowledged += len(settled)
        elif frame.method is Method.NACK and bits & _REQUEUE:
            self.requeued += len(settled)
        else:
            self.rejected += len(settled)

    def _close(self, channel: Channel) -> None:
        self.lost += len(self._unsettled.pop(channel, ()))
        self.consuming.discard(channel)
