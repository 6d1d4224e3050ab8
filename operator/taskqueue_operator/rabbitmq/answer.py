"""One answer of the management API: its JSON, and the fault that a refusal means."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason, TopologyFault, excerpt

from . import faults
from .endpoint import Endpoint
from .listing import parse

NOT_MANAGEMENT: Final = "the server is not a RabbitMQ management API"
NOT_STORED: Final = ("operation timed out", "due to timeout")
"""Ends of what RabbitMQ says while no majority of its nodes stores metadata."""
NO_CONSISTENT_HASH: Final = "unknown exchange type 'x-consistent-hash'"
ENABLE_PLUGIN: Final = (
    "the plugin rabbitmq_consistent_hash_exchange is not enabled. Run rabbitmq-plugins enable "
    "rabbitmq_consistent_hash_exchange on each node of the broker, or remove spec.queue.shards, and choose another "
    "spec.exchange.type."
)
PHRASE_CHARACTERS: Final = 64
"""Longest reason phrase of an HTTP status that a message repeats."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that was received as a whole.

    Attributes:
        status: The HTTP status.
        phrase: The reason phrase beside it.
        body: The body, within the bounds of `bodies`.
        etag: The ETag; empty without one.
    """

    status: int
    phrase: str
    body: bytearray
    etag: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the request was done."""
        return self.status // 100 == HTTPStatus.OK // 100

    def json(self) -> Any:  # noqa: ANN401  any JSON value
        """Return the body as JSON; None if it is no JSON, too long for one piece, or nested too deeply."""
        return parse(self.body)

    def fault(self, endpoint: Endpoint, operation: str) -> Fault:
        """Map an error response. The API uses few status codes: 401 may mean the password, a tag or a permission.

        Args:
            endpoint: Which endpoint sent it.
            operation: Describes the request, such as `configure queue "jobs"`.
        """
        body = self.json()
        error, reason = (str(body.get(key)) for key in ("error", "reason")) if isinstance(body, dict) else ("", "")
        reason = excerpt(reason)
        if self.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return _denied(endpoint, reason, operation)
        if self.status == HTTPStatus.NOT_FOUND and reason:
            return _not_found(endpoint, error, reason, operation)
        if self.status == HTTPStatus.BAD_REQUEST and reason.endswith(NOT_STORED):
            return faults.not_written(endpoint)
        if self.status == HTTPStatus.BAD_REQUEST and reason:
            if NO_CONSISTENT_HASH in reason:
                return TopologyFault(Reason.TOPOLOGY_REFUSED, f"RabbitMQ refuses to {operation}: {ENABLE_PLUGIN}")
            drift = reason.startswith("inequivalent arg")
            return TopologyFault(
                Reason.IMMUTABLE_DRIFT if drift else Reason.TOPOLOGY_REFUSED,
                f"RabbitMQ refuses to {operation}: {reason}",
            )
        return faults.management_unreachable(endpoint, f"HTTP status {self.status} {self.phrase}")


def _denied(endpoint: Endpoint, reason: str, operation: str) -> BrokerFault:
    if reason == "Not management user":
        return faults.no_tag(endpoint, "management", "use the management API")
    if reason == "User not authorised to access object":
        return faults.no_tag(endpoint, "policymaker", operation)
    if reason.startswith("Access refused") or "access to" in reason:
        return faults.forbidden(endpoint, endpoint.management_username, operation)
    return faults.wrong_management_password(endpoint)


def _not_found(endpoint: Endpoint, error: str, reason: str, operation: str) -> Fault:
    if error == "Object Not Found" or reason == "vhost_not_found":
        has_path = endpoint.management != endpoint.management_address
        return faults.wrong_management_path(endpoint) if has_path else faults.no_vhost(endpoint)
    if reason == "Not Found":
        return faults.vhost_forbidden(endpoint, endpoint.management_username)
    return TopologyFault(Reason.TOPOLOGY_REFUSED, f"RabbitMQ refuses to {operation}: {reason}")
