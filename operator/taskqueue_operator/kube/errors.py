"""What the API server can answer but success, and what that means to the user of a TaskQueue."""

import re
from http import HTTPStatus
from typing import Any, Final

from taskqueue_operator.resource.faults import Fault, Reason, WorkersFault

UNREACHABLE: Final = 0
"""Status of an error without an answer."""

# Server-side apply answers 500, without a reason, when the manifest does not fit the schema.
_SCHEMA_FAULTS: Final = ("failed to create typed patch object", "failed to convert new object")
_PASSING: Final = frozenset(
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
    """An answer of the API server that is no success, or the lack of one; stays within this package."""

    def __init__(self, status: int, body: dict[str, Any], *, retry_after: float | None = None) -> None:
        message = body.get("message") or f"HTTP status {status}"
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        details = body.get("details") or {}
        self.causes = tuple(f"{cause.get('field', '')}: {cause['message']}" for cause in details.get("causes") or ())

    @property
    def missing(self) -> bool:
        """Whether the object, or its namespace, is not there."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def conflict(self) -> bool:
        """Whether the object is not as the request says it is."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def another(self) -> bool:
        """Whether the object is another one of that name: a PATCH that names the UID may not change it."""
        return any(cause.startswith("metadata.uid: ") for cause in self.causes)

    @property
    def off_schema(self) -> bool:
        """Whether an applied manifest has an unknown field, or a value of the wrong type."""
        return self.status == HTTPStatus.INTERNAL_SERVER_ERROR and self.message.startswith(_SCHEMA_FAULTS)

    @property
    def passing(self) -> bool:
        """Whether the same request may well succeed in a moment."""
        return self.status in _PASSING and not self.off_schema

    @property
    def failed_test(self) -> bool:
        """Whether a `test` of a JSON Patch did not hold: the one kind of 422 that names no field."""
        return self.status == HTTPStatus.UNPROCESSABLE_ENTITY and not self.causes


def unavailable(action: str, error: ApiError) -> Fault:
    """Say that something could not be done, such as "scale Deployment media/thumbnails"."""
    hint = ""
    if error.status == HTTPStatus.FORBIDDEN and " cannot " in error.message:  # by RBAC, not by quota or admission
        hint = " Give the operator's ServiceAccount the rights that the chart gives it."
    elif error.status == HTTPStatus.UNAUTHORIZED:
        hint = " The API server does not accept the operator's credentials."
    return Fault(Reason.API_UNAVAILABLE, f"Kubernetes: cannot {action}: {error.message.rstrip('.')}.{hint}")


def refused(error: ApiError) -> WorkersFault:
    """Say why the API server does not take the Deployment, in its own words without their wrapping."""
    words = "; ".join(error.causes) or re.sub(r"^failed to .*?\(.*?\)(?: to proper version)?: \.?", "", error.message)
    words = re.sub(r"&(?:[\w.]+)?\{(?:Value:)?(.*?)\}", r"\1", words).rstrip(".")
    return WorkersFault(
        Reason.POD_TEMPLATE_INVALID,
        f"The API server refused the Deployment of the workers: {words}. "
        "Correct the field in spec.worker or in spec.worker.podTemplate.",
        terminal=True,
    )
