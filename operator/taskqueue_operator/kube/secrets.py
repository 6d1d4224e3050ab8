"""Reads single Secrets by name. They are never listed or watched, and no message quotes them."""

import base64
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from taskqueue_operator.resource.bounds import BEYOND_BOUNDS
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.resource.names import Key

from .client import Api, path
from .faults import UNREACHABLE, ApiError

_HINTS: Final[Mapping[int, str]] = {
    UNREACHABLE: "The API server cannot be reached.",
    HTTPStatus.FORBIDDEN: "Grant {reader} the verb get on secrets in this namespace.",
}


async def read(api: Api, key: Key, *, reader: str = "the operator's ServiceAccount") -> Mapping[str, bytes] | None:
    """Read the data of a Secret; None if it does not exist. `reader` says who reads, in messages.

    Raises:
        BrokerFault: The Secret is too large.
        Fault: The Secret cannot be read. The message contains only the status of the answer.
    """
    try:
        secret = await api.request("GET", path("api/v1", "secrets", key))
    except ApiError as error:
        status = error.status
    else:
        if BEYOND_BOUNDS in secret:
            raise BrokerFault(
                Reason.SECRET_INVALID, f"Secret {key}: {secret[BEYOND_BOUNDS]}. Make it smaller.", terminal=True
            )
        return {name: base64.b64decode(value) for name, value in (secret.get("data") or {}).items()}
    if status == HTTPStatus.NOT_FOUND:
        return None
    hint = _HINTS.get(status, f"The API server answered with HTTP status {status}.").format(reader=reader)
    # Raised outside of the except block, so that the exception has no context that contains the answer.
    raise Fault(Reason.API_UNAVAILABLE, f"Kubernetes: cannot read Secret {key}. {hint}")
