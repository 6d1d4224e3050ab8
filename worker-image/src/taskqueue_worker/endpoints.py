"""Serves /healthz, /readyz and /metrics on threads. What the probes ask is answered on the loop of the connection."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

import structlog
from prometheus_client import generate_latest

from taskqueue_drain.endpoints import Probed, serve

from .metrics import Metrics

ANSWER_SECONDS: Final = 4.0
"""How long a probe waits for the loop of the connection: less than the kubelet waits for the probe."""

_log = structlog.get_logger("endpoints")


def serve_endpoints(port: int, metrics: Metrics, health: Probed, *, application: Callable[[], bytes]) -> None:
    """Listen on all addresses of the pod until the process ends.

    Args:
        port: The port; 0 selects a free one.
        metrics: The metrics of the worker.
        health: Answers the probes, on this loop.
        application: Returns the metrics of the application, on any thread.

    Raises:
        OSError: The port is in use.
    """
    answers = AnswersOfLoop(health, asyncio.get_running_loop())
    _log.info("listening", port=serve(port, answers, lambda: generate_latest(metrics.registry) + application()))


class AnswersOfLoop:
    """Lets a loop answer what other threads ask (`taskqueue_drain.endpoints.Probed`): one that stands still is bad."""

    def __init__(self, health: Probed, loop: asyncio.AbstractEventLoop) -> None:
        self._health = health
        self._loop = loop

    @property
    def is_alive(self) -> bool:
        """See `Probed`."""
        return self._ask(lambda: self._health.is_alive)

    @property
    def is_ready(self) -> bool:
        """See `Probed`."""
        return self._ask(lambda: self._health.is_ready)

    def _ask(self, question: Callable[[], bool]) -> bool:
        answer: Future[bool] = Future()
        try:
            self._loop.call_soon_threadsafe(lambda: answer.set_result(question()))
            return answer.result(ANSWER_SECONDS)
        except (TimeoutError, RuntimeError):  # the loop is closed
            return False
