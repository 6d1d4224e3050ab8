"""Lets a Celery consumer stop, with proof, and consume again. It runs on Celery's thread."""

import time
from contextlib import suppress
from typing import Any

from celery.exceptions import WorkerShutdown

from taskqueue_drain.protocol_log import contained, log
from taskqueue_drain.worker_protocol import CANCEL_TIMEOUT_SECONDS

from . import unstarted
from .round_trips import RoundTrips
from .runtime import CeleryRuntime


class Consuming:
    """Carries out what the control thread wishes of Celery's consumer."""

    def __init__(self, runtime: CeleryRuntime) -> None:
        self._runtime = runtime
        self._trips: RoundTrips | None = None
        self._held: int | None = None
        self._receive: Any = None
        self._proofs = 0

    def connected(self, trips: RoundTrips) -> None:
        """Celery has a new channel, and is about to consume."""
        self._trips = trips
        self._held = self._receive = None
        if not self._runtime.wish.may_consume:
            self._hold(trips)

    @contained
    def apply(self) -> None:
        """Do what the control thread wishes now."""
        number, may_consume = self._runtime.wish.current
        if not self._runtime.is_connected or self._trips is None:
            return  # `connected` follows
        if may_consume and self._held is not None:
            self._release()
        elif not may_consume and self._held != number:
            self._hold(self._trips)

    @contained
    def finish(self) -> None:
        """Read until the proof has come. While Celery then waits for its tasks, it reads nothing.

        A message that is not read stays with the worker until its tasks have ended.
        """
        until = time.monotonic() + CANCEL_TIMEOUT_SECONDS
        while self._is_proof_awaited and (rest := until - time.monotonic()) > 0:
            with suppress(TimeoutError, WorkerShutdown):  # a remote command to do what the worker does already
                self._runtime.consumer.connection.drain_events(timeout=rest)

    @property
    def _is_proof_awaited(self) -> bool:
        # Not `is_quiet`: the control thread, too, learns of SIGTERM, and may ask once more meanwhile.
        return self._held is not None and self._runtime.quiet_since != self._held

    def _hold(self, trips: RoundTrips) -> None:
        """Cancel the consumers, requeue what has not begun, and ask for the proof that nothing follows."""
        tasks = self._runtime.consumer.task_consumer
        if self._held is None:
            self._receive, tasks.on_message = tasks.on_message, self._on_stray
            tasks.consume = lambda *_, **__: None  # Celery would consume after a connect, or for a further queue
        self._held, _ = self._runtime.wish.current
        # With no answers: the proof follows them anyway. After an answer py-amqp would no longer call `_on_stray`, but
        # reject what follows, which counts as a failure.
        for tag in tasks._active_tags.values():  # noqa: SLF001 - kombu's `cancel` would wait
            tasks.channel.basic_cancel(tag, nowait=True)
        tasks._active_tags.clear()  # noqa: SLF001 - likewise
        returned = unstarted.requeue_all(self._runtime.consumer)
        log.info("stopped consuming, requeued %d messages", returned)
        self._prove(trips)

    def _release(self) -> None:
        tasks = self._runtime.consumer.task_consumer
        self._held = None
        del tasks.consume
        if self._receive is not None:
            tasks.on_message = self._receive
        for queue in tasks.queues:  # `consume` would wait, and its error would end here and not in Celery's loop
            tasks._basic_consume(queue, no_ack=None, nowait=True)  # noqa: SLF001 - see above

    def _prove(self, trips: RoundTrips) -> None:
        """Ask for an answer that follows the last message."""
        self._runtime.quiet_since = -1
        self._proofs = number = self._proofs + 1
        trips.begin(lambda: self._on_proof(number, trips))

    def _on_proof(self, number: int, trips: RoundTrips) -> None:
        if number == self._proofs and trips is self._trips and self._held is not None:
            self._runtime.quiet_since = self._held

    @contained
    def _on_stray(self, message: Any) -> None:  # noqa: ANN401 - kombu has no types
        """A message was sent before the cancel and received after it."""
        unstarted.requeue(message)
        if self._trips is not None:
            self._prove(self._trips)
