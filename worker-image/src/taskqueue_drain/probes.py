"""Serves the probes of a pod, whether its worker can be drained or not: without them it would be restarted."""

from collections.abc import Mapping

from .endpoints import Probed, serve
from .environment import CannotJoinError, port_of
from .protocol_log import log


class _Latest:
    """The worker of this process: another one may follow it, for example when a broker of FastStream starts again."""

    def __init__(self, health: Probed) -> None:
        self.health = health

    @property
    def is_alive(self) -> bool:
        """See `Health`."""
        return self.health.is_alive

    @property
    def is_ready(self) -> bool:
        """See `Health`."""
        return self.health.is_ready


_latest: dict[int, _Latest] = {}
"""By port."""


def serve_probes(environment: Mapping[str, str], health: Probed) -> None:
    """Serve /healthz and /readyz in the pods of a TaskQueue; say why if that is impossible."""
    if "TASKQUEUE_NAME" not in environment:
        return
    try:
        port = port_of(environment)
        if port in _latest:
            _latest[port].health = health
            return
        latest = _Latest(health)
        _latest[serve(port, latest)] = latest
    except (CannotJoinError, OSError) as error:
        log.warning("/healthz and /readyz are not served: %s", error)
