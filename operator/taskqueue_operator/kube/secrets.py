"""Secrets: read one at a time, by name; never listed, never watched, never quoted."""

import base64
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.names import Key

from .client import Api, path
from .errors import UNREACHABLE, ApiError

_HINTS: Final[Mapping[int, str]] = {
    UNREACHABLE: "The API server cannot be reached.",
    HTTPStatus.FORBIDDEN: "Give the operator's ServiceAccount the verb get on secrets in this namespace.",
}


async def read(api: Api, key: Key) -> Mapping[str, bytes] | None:
    """Read the data; None when there is no such Secret.

    Raises:
        Fault: It could not be read. Of the answer only the status is told.
    """
    try:
        secret = await api.request("GET", path("api/v1", "secrets", key))
    except ApiError as error:
        status = error.status
    else:
        return {name: base64.b64decode(value) for name, value in (secret.get("data") or {}).items()}
    if status == HTTPStatus.NOT_FOUND:
        return None
    hint = _HINTS.get(status, f"The API server answered with HTTP status {status}.")
    # Raised outside of the handler: the answer is not even in the context of the exception.
    raise Fault(Reason.API_UNAVAILABLE, f"Kubernetes: cannot read Secret {key}. {hint}")
