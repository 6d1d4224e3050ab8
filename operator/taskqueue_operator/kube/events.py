"""Events about TaskQueues, which `kubectl describe` shows."""

import socket
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from taskqueue_operator.resource.bounds import MESSAGE_CHARACTERS
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.text import shorten

from .client import Api, Body, collection
from .faults import ApiError, unavailable

_MAX_NAME_LENGTH: Final = 253


async def post(api: Api, regarding: Body, *, reason: str, message: str, warning: bool) -> None:
    """Post an Event about an object (`apiVersion, kind, namespace, name, uid`).

    Raises:
        Fault: The API server cannot be used.
    """
    key = Key(regarding["namespace"], regarding["name"])
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # The client chooses the name, so a request that is repeated after a lost answer does not post a second Event.
    suffix = f".{uuid4().hex}"
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": key.namespace, "name": key.name[: _MAX_NAME_LENGTH - len(suffix)] + suffix},
        "involvedObject": regarding,
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": shorten(message, MESSAGE_CHARACTERS),
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": api.manager},
        "reportingComponent": api.manager,
        "reportingInstance": socket.gethostname(),
    }
    try:
        await api.request("POST", collection("api/v1", "events", key.namespace), body=event)
    except ApiError as error:
        if not error.conflict:  # the Event exists: only the answer to the first attempt was lost
            raise unavailable(f"post an Event about {regarding['kind']} {key}", error) from None
