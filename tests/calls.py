"""Calls of handlers, without a broker."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import structlog

from taskqueue_worker import Call, Context
from taskqueue_worker.tasks import Handler


def call(payload: object = None, task_id: str | None = "", type: str = "t", **properties: Any) -> Call:  # noqa: A002, ANN401 - the AMQP name; properties of the context
    """Return a call of a task with this id, by default a new one."""
    known: dict[str, Any] = {
        "task_id": task_id if task_id != "" else uuid4().hex,
        "type": type,
        "routing_key": "q",
        "headers": {},
        "redelivered": False,
        "attempt": 1,
        "state": None,
        "deadline": datetime.now(UTC) + timedelta(seconds=60),
        "draining": asyncio.Event(),
        "log": structlog.get_logger("task"),
    }
    handler = Handler(type, 1, lambda _: None, "tests", wants_context=False, is_coroutine=True)
    return Call(Context(**known | properties), payload, handler)
