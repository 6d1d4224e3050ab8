"""Serves the probes of a pod, whether its worker can be drained or not: without them it would be restarted."""

from collections.abc import Callable, Mapping

from .endpoints import Probed, serve
from .environment import CannotJoinError, port_of
from .protocol_log import log


class _Latest:
    """The worker of this process: another one may follow it, for example when a broker of FastStream starts again."""

    def __init__(self, health: Probed) -> None:
        self.health = health

    @property
    def is_alive(self) -> bool:
        """See `Probed`."""
        return self.health.is_alive

    @property
    def is_ready(self) -> bool:
        """See `Probed`."""
        return self.health.is_ready


_latest: dict[int, _Latest] = {}
"""By port."""


def serve_probes(environment: Mapping[str, str], health: Probed, metrics: Callable[[], bytes] | None = None) -> None:
    """Serve /healthz, /readyz and perhaps /metrics in the pods of a TaskQueue; log the port, or why it cannot be."""
    if "TASKQUEUE_NAME" not in environment:
        return
    try:
        wanted = port_of(environment)
        if wanted in _latest:
            _latest[wanted].health = health
            return
        latest = _Latest(health)
        port = serve(wanted, latest, metrics)
    except (CannotJoinError, OSError) as error:
        log.warning("/healthz and /readyz are not served: %s", error)
    else:
        _latest[port] = latest
        log.info("/healthz and /readyz are served on port %d", port)
