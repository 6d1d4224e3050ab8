"""Client of the management API for one vhost.

The user needs the tag `management`, and in the vhost these permissions: configure on the exchanges and queues that are
declared or deleted; for bindings, write on the destination and read on the source; for dead letters, read on the queue
and write on `amq.default`. Policies need the tag `policymaker`, which includes `management`.
"""

import asyncio
import ssl
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason, TopologyFault, excerpt
from taskqueue_operator.resource.lease import Guard

from . import faults
from .endpoint import Endpoint

CONNECT_TIMEOUT_SECONDS: Final = 5.0
REQUEST_TIMEOUT_SECONDS: Final = 20.0
"""Listing 10,000 queues takes about a second; a broker that loses its leader may need several seconds."""
MAX_CONNECTIONS: Final = 4
KEEPALIVE_SECONDS: Final = 3.0
"""RabbitMQ closes a connection after 5 s without a request, so a request every 5 s would meet the close."""
_NOT_MANAGEMENT: Final = "the server is not a RabbitMQ management API"
_SENDING: Final = "http11.send_request_headers.started"
"""Trace event of httpcore: there is a connection, and the request is about to be sent."""


class Management:
    """Sends requests below `/api`, and maps errors to faults. Paths contain the vhost as `{vhost}`."""

    def __init__(self, endpoint: Endpoint, guard: Guard | None = None) -> None:
        """`guard` is called before each request that writes; what it raises is raised by the request."""
        self._endpoint = endpoint
        self._guard = guard
        # Plain HTTP never uses the context: an empty one avoids loading the system's certificates.
        tls = endpoint.management.startswith("https:")
        context = endpoint.ssl_context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._http = httpx.AsyncClient(
            # Not in the URL, because errors and logs show URLs.
            auth=httpx.BasicAuth(endpoint.management_username, endpoint.management_password),
            verify=context,
            timeout=httpx.Timeout(REQUEST_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_SECONDS),
            # A proxy or a redirect would send the password to another host.
            trust_env=False,
            follow_redirects=False,
        )

    async def read(self, path: str, *, operation: str = "read the topology", **query: str) -> list[dict[str, Any]]:
        """Read a list; `operation` describes the request in error messages.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        listing = await self._read(path, operation, query)
        if not isinstance(listing, list):
            raise faults.management_unreachable(self._endpoint, _NOT_MANAGEMENT)
        return listing

    async def read_overview(self, *columns: str) -> dict[str, Any]:
        """Read properties of the broker as a whole.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        overview = await self._read("overview", "read the broker's version", {"columns": ",".join(columns)})
        if not isinstance(overview, dict):
            raise faults.management_unreachable(self._endpoint, _NOT_MANAGEMENT)
        return overview

    async def _read(self, path: str, operation: str, query: dict[str, str]) -> Any:  # noqa: ANN401  any JSON value
        response = await self._send("GET", path, params=query)
        if response.status_code != HTTPStatus.OK:
            raise self._fault(response, operation)
        return _json(response)

    async def write(self, method: str, path: str, body: dict[str, Any], *, operation: str) -> None:
        """Create an object; an equal object stays unchanged.

        Args:
            method: PUT or POST.
            path: Path of the object, or of its collection.
            body: The object as JSON.
            operation: Describes the request in error messages, such as `configure queue "jobs"`.

        Raises:
            TopologyFault: The broker refuses the object.
            BrokerFault: The management API cannot be used.
        """
        response = await self._send(method, path, content=orjson.dumps(body))
        if not response.is_success:
            raise self._fault(response, operation)

    async def delete(self, path: str, *, operation: str) -> None:
        """Delete an object; an object that is already gone counts as deleted.

        Raises:
            TopologyFault: The broker refuses.
            BrokerFault: The management API cannot be used.
        """
        response = await self._send("DELETE", path)
        if not response.is_success and response.status_code != HTTPStatus.NOT_FOUND:
            raise self._fault(response, operation)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _send(
        self, method: str, path: str, *, params: dict[str, str] | None = None, content: bytes | None = None
    ) -> httpx.Response:
        url = f"{self._endpoint.management}/api/{path.format(vhost=segment(self._endpoint.vhost))}"
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                return await self._http.request(
                    method,
                    url,
                    params=params,
                    content=content,
                    headers={"content-type": "application/json"},
                    extensions={"trace": self._on_trace} if method != "GET" else None,
                )
        # OSError: a server that rejects our certificate does so after the handshake, and httpx does not wrap the error.
        except (httpx.HTTPError, OSError) as error:
            raise faults.management_unreachable(self._endpoint, faults.cause(error)) from None

    async def _on_trace(self, event: str, _: object) -> None:
        if event == _SENDING and self._guard is not None:
            self._guard()

    def _fault(self, response: httpx.Response, operation: str) -> Fault:
        """Map an error response. The API uses few status codes: 401 may mean the password, a tag or a permission."""
        body = _json(response)
        error, reason = (str(body.get(key)) for key in ("error", "reason")) if isinstance(body, dict) else ("", "")
        status = response.status_code
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return self._denied(reason, operation)
        if status == HTTPStatus.NOT_FOUND and reason:
            return self._not_found(error, reason, operation)
        if status == HTTPStatus.BAD_REQUEST and reason:
            drift = reason.startswith("inequivalent arg")
            return TopologyFault(
                Reason.IMMUTABLE_DRIFT if drift else Reason.TOPOLOGY_REFUSED,
                f"RabbitMQ refuses to {operation}: {excerpt(reason)}",
            )
        return faults.management_unreachable(self._endpoint, f"HTTP status {status} {response.reason_phrase}")

    def _denied(self, reason: str, operation: str) -> BrokerFault:
        username = self._endpoint.management_username
        if reason == "Not management user":
            return faults.no_tag(self._endpoint, "management", "use the management API")
        if reason == "User not authorised to access object":
            return faults.no_tag(self._endpoint, "policymaker", operation)
        if reason.startswith("Access refused") or "access to" in reason:
            return faults.forbidden(self._endpoint, username, operation)
        return faults.wrong_management_password(self._endpoint)

    def _not_found(self, error: str, reason: str, operation: str) -> Fault:
        if error == "Object Not Found" or reason == "vhost_not_found":
            has_path = self._endpoint.management != self._endpoint.management_address
            return faults.wrong_management_path(self._endpoint) if has_path else faults.no_vhost(self._endpoint)
        if reason == "Not Found":
            return faults.vhost_forbidden(self._endpoint, self._endpoint.management_username)
        return TopologyFault(Reason.TOPOLOGY_REFUSED, f"RabbitMQ refuses to {operation}: {excerpt(reason)}")


def segment(name: str) -> str:
    """Quote a name as one segment of a path."""
    return quote(name, safe="")


def _json(response: httpx.Response) -> Any:  # noqa: ANN401  any JSON value
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None
