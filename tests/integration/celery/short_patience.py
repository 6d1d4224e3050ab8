"""For `-I`, beside the adapter: a worker that does not consume is unhealthy after three seconds."""

from taskqueue_drain import health
from taskqueue_drain.celery import heartbeat

health.PATIENCE_SECONDS = 3.0  # type: ignore[misc]  # a constant everywhere else
heartbeat.BEAT_SECONDS = 0.2  # type: ignore[misc]  # likewise
