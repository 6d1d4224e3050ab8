"""FastStream with several processes: none of them can be drained, and this one answers for all."""

from collections.abc import Mapping

from taskqueue_drain.health import Health
from taskqueue_drain.probes import serve_probes
from taskqueue_drain.protocol import Figures
from taskqueue_drain.protocol_log import log


class _Processes:
    """The processes that consume, as far as they are known here (`taskqueue_drain.Runtime`)."""

    is_quiet = False
    is_consuming = True

    def stop_consuming(self) -> None:
        """See `Runtime`."""

    def consume(self) -> None:
        """See `Runtime`."""

    def figures(self) -> Figures:
        """See `Runtime`."""
        return Figures(0, 0, 0, None, 0, 0, 0)


def serve_for_processes(environment: Mapping[str, str]) -> None:
    """Say why the processes are not drained, and serve the probes of the pod, which would be restarted without."""
    log.warning(
        "this worker cannot be drained: --workers or --reload starts further processes: leave it out, and scale by pods"
    )
    serve_probes(environment, Health(_Processes()))
