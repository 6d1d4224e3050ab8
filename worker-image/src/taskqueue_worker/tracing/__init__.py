"""Spans of OpenTelemetry around tasks and publishes. It needs the extra `opentelemetry`."""

from taskqueue_worker.extras import importing

with importing("opentelemetry", extra="opentelemetry"):
    from .middleware import Tracing
    from .publish_span import publish_span

__all__ = ["Tracing", "publish_span"]
