"""Serves the probes of a pod, whether its worker can be drained or not: without them it would be restarted."""

from collections.abc import Mapping

from .endpoints import serve
from .environment import CannotJoinError, port_of
from .health import Health
from .protocol_log import log


def serve_probes(environment: Mapping[str, str], health: Health) -> None:
    """Serve /healthz and /readyz in the pods of a TaskQueue; say why if that is impossible."""
    if "TASKQUEUE_NAME" not in environment:
        return
    try:
        serve(port_of(environment), health)
    except (CannotJoinError, OSError) as error:
        log.warning("/healthz and /readyz are not served: %s", error)
