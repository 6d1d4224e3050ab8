"""How this worker joins the control protocol: what the protocol may ask of it, and what is logged and counted."""

from collections.abc import Callable
from dataclasses import replace

import structlog

from taskqueue_drain import Drain, Figures

from .connection import Supervisor
from .consume_gate import ConsumeGate
from .metrics import Metrics
from .worker import Worker

_log = structlog.get_logger("control")


class DrainableWorker:
    """The worker as the protocol sees it (`taskqueue_drain.Runtime`)."""

    def __init__(
        self, gate: ConsumeGate, worker: Worker, supervisor: Supervisor, dependencies: Callable[[], tuple[str, ...]]
    ) -> None:
        """`dependencies` returns the names of those that are not reached."""
        self._dependencies = dependencies
        self._gate = gate
        self._worker = worker
        self._supervisor = supervisor

    def stop_consuming(self) -> None:
        """Start no task from now on; the subscriptions cancel their consumers and requeue what waits."""
        self._worker.stop_starting()
        self._gate.close()

    def consume(self) -> None:
        """Consume again."""
        self._gate.reopen()
        self._worker.resume_starting()

    @property
    def is_quiet(self) -> bool:
        """Whether no message can arrive any more until `consume`."""
        return self._supervisor.is_quiet

    @property
    def is_consuming(self) -> bool:
        """Whether every queue has a consumer of this worker."""
        return self._supervisor.consuming

    def figures(self) -> Figures:
        """Count what runs and what waits."""
        return replace(self._worker.figures(), unavailable_dependencies=self._dependencies())


class ProtocolLog:
    """Logs and counts commands and reports (`taskqueue_drain.Observer`)."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def draining(self, drain: Drain) -> None:
        """See `Observer`."""
        _log.info("draining", installation=drain.installation, epoch=drain.epoch, seq=drain.seq)

    def resumed(self, event: str) -> None:
        """See `Observer`."""
        _log.info(event)

    def handled(self, command: str, outcome: str, reason: str | None = None) -> None:
        """See `Observer`."""
        self._metrics.count_command(command, outcome)
        if reason is not None:
            _log.warning("command refused", command=command, reason=reason)

    def reported(self) -> None:
        """See `Observer`."""
        self._metrics.reports.inc()

    def disconnected(self, reason: str) -> None:
        """See `Observer`."""
        _log.warning("control channel down", reason=reason)
