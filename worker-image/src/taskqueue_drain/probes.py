"""Serves the probes of a pod, whether its worker can be drained or not: without them it would be restarted."""

from collections.abc import Callable, Mapping

from .endpoints import serve
from .environment import CannotJoinError, port_of
from .health import Health
from .protocol_log import log


def serve_probes(environment: Mapping[str, str], health: Health, metrics: Callable[[], bytes] | None = None) -> None:
    """Serve /healthz, /readyz and perhaps /metrics in the pods of a TaskQueue; log the port, or why it cannot be."""
    if "TASKQUEUE_NAME" not in environment:
        return
    try:
        port = serve(port_of(environment), health, metrics)
    except (CannotJoinError, OSError) as error:
        log.warning("/healthz and /readyz are not served: %s", error)
    else:
        log.info("/healthz and /readyz are served on port %d", port)
