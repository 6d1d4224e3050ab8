"""Spans of OpenTelemetry around tasks and publishes. It needs the extra `opentelemetry`."""

try:
    from .middleware import Tracing
    from .publish_span import publish_span
except ModuleNotFoundError as error:
    if error.name != "opentelemetry":
        raise
    raise ImportError(
        "taskqueue_worker.tracing needs OpenTelemetry. Install it with: pip install 'taskqueue-worker[opentelemetry]'"
    ) from None

__all__ = ["Tracing", "publish_span"]
