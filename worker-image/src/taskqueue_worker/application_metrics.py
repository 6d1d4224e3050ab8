"""The metrics of the application: those that its code registers with the default registry of prometheus_client."""

from collections.abc import Iterator

import structlog
from prometheus_client import REGISTRY, Metric, generate_latest

from .bounds import SCRAPE_SECONDS
from .handler_loop import HandlerLoop

_log = structlog.get_logger("metrics")


class ApplicationMetrics:
    """Reads the default registry on the loop of the handlers: a collector may be code of the application."""

    def __init__(self, handlers: HandlerLoop) -> None:
        self._handlers = handlers

    def page(self) -> bytes:
        """Return the page; an empty one if a handler holds the loop, or a collector fails. For any other thread."""
        try:
            return self._handlers.read(lambda: generate_latest(self), SCRAPE_SECONDS) or b""
        except Exception as error:  # noqa: BLE001 - whatever a collector raises
            _log.warning("metrics of the application not read", error=repr(error))
            return b""

    def collect(self) -> Iterator[Metric]:
        """Yield all families but those of the process, which the registry of the worker has too."""
        return (family for family in REGISTRY.collect() if not family.name.startswith("process_"))
