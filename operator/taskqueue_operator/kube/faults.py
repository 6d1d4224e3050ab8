"""Maps errors of the API server to faults."""

import re
from http import HTTPStatus
from typing import Any, Final

from taskqueue_operator.resource.faults import Fault, Reason, WorkersFault, excerpt

UNREACHABLE: Final = 0
"""Status of an error for a request without an answer."""

# Server-side apply returns 500 without a reason if the manifest does not match the schema.
_SCHEMA_ERRORS: Final = ("failed to create typed patch object", "failed to convert new object")
_TRANSIENT: Final = frozenset(
    {
        UNREACHABLE,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


class ApiError(Exception):
    """An error answer of the API server, or no answer. Not raised outside of this package."""

    def __init__(self, status: int, body: dict[str, Any], *, retry_after: float | None = None) -> None:
        message = body.get("message") or f"HTTP status {status}"
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        details = body.get("details") or {}
        self.causes = tuple(f"{cause.get('field', '')}: {cause['message']}" for cause in details.get("causes") or ())

    @property
    def not_found(self) -> bool:
        """Whether the object or its namespace does not exist."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def conflict(self) -> bool:
        """Whether the object differs from the condition of the request."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def uid_differs(self) -> bool:
        """Whether another object has the name now: a PATCH that contains a UID cannot change it."""
        return any(cause.startswith("metadata.uid: ") for cause in self.causes)

    @property
    def schema_mismatch(self) -> bool:
        """Whether an applied manifest contains an unknown field or a value of the wrong type."""
        return self.status == HTTPStatus.INTERNAL_SERVER_ERROR and self.message.startswith(_SCHEMA_ERRORS)

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed when it is repeated."""
        return self.status in _TRANSIENT and not self.schema_mismatch

    @property
    def test_failed(self) -> bool:
        """Whether a `test` operation of a JSON Patch failed: the only kind of 422 that names no field."""
        return self.status == HTTPStatus.UNPROCESSABLE_ENTITY and not self.causes


def unavailable(action: str, error: ApiError) -> Fault:
    """Return the fault of a request; `action` describes it, such as "scale Deployment media/thumbnails"."""
    hint = ""
    if (
        error.status == HTTPStatus.FORBIDDEN and " cannot " in error.message
    ):  # RBAC, not a quota or an admission webhook
        hint = " Grant the operator's ServiceAccount the permissions of the chart."
    elif error.status == HTTPStatus.UNAUTHORIZED:
        hint = " The API server does not accept the operator's credentials. Check its ServiceAccount token."
    return Fault(Reason.API_UNAVAILABLE, f"Kubernetes: cannot {action}: {excerpt(error.message).rstrip('.')}.{hint}")


def refused(error: ApiError) -> WorkersFault:
    """Return the fault of a Deployment that the API server refuses, with the server's text without Go syntax."""
    text = "; ".join(error.causes) or re.sub(r"^failed to .*?\(.*?\)(?: to proper version)?: \.?", "", error.message)
    text = re.sub(r"&(?:[\w.]+)?\{(?:Value:)?(.*?)\}", r"\1", text).rstrip(".")
    return WorkersFault(
        Reason.POD_TEMPLATE_INVALID,
        f"The API server refused the worker Deployment: {excerpt(text)}. "
        "Correct the field in spec.worker or spec.worker.podTemplate.",
        terminal=True,
    )
