"""Events, as `kubectl describe` shows them."""

import socket
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from taskqueue_operator.resource.names import Key

from .client import Api, Body, collection
from .errors import ApiError, unavailable

LONGEST_MESSAGE: Final = 1024
_LONGEST_NAME: Final = 253


async def post(api: Api, regarding: Body, *, reason: str, message: str, warning: bool) -> None:
    """Post one about an object (`apiVersion, kind, namespace, name, uid`).

    Raises:
        Fault: It could not be posted.
    """
    key = Key(regarding["namespace"], regarding["name"])
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # The name is made here, not by the server: repeated after a lost answer, the request cannot post it twice.
    suffix = f".{uuid4().hex}"
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": key.namespace, "name": key.name[: _LONGEST_NAME - len(suffix)] + suffix},
        "involvedObject": regarding,
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message if len(message) <= LONGEST_MESSAGE else message[: LONGEST_MESSAGE - 1] + "…",
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
        if not error.conflict:  # it is there: the answer to the first attempt was lost
            raise unavailable(f"post an Event about {regarding['kind']} {key}", error) from None
