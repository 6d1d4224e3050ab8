"""Sends requests to the management API, over connections that are kept, and maps what goes wrong to faults."""

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpcore

from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.resource.lease import Guard

from . import faults
from .access import Access
from .answer import PHRASE_CHARACTERS, Answer
from .bodies import TooLargeError
from .login import MANAGEMENT
from .outage import Outage
from .request import REQUEST_TIMEOUT_SECONDS, Request

CONNECT_TIMEOUT_SECONDS: Final = 5.0
_CONNECTING: Final = "connection.connect_tcp.started"
"""Trace event of httpcore: there is no idle connection, and a new one is opened."""
_SENDING: Final = "http11.send_request_headers.started"
"""Trace event of httpcore: there is a connection, and the request is about to be sent."""
_CONNECTION_LOST: Final = (httpcore.NetworkError, httpcore.RemoteProtocolError)
_FAILED: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError)
"""OSError: a server that rejects our certificate does so after the handshake, and httpcore does not wrap the error."""


class ManagementRequests:
    """Sends requests below `/api`: one attempt each, and none while the server is away or refuses the credentials."""

    def __init__(self, access: Access, guard: Guard | None = None) -> None:
        """`guard` is called before each request that writes; what it raises is raised by the request."""
        self._endpoint = endpoint = access.endpoint
        self._network = access.network
        self._login = access.login
        self._outage = Outage()
        self._guard = guard
        self._connections = access.network.http(endpoint)
        user = f"{endpoint.management_username}:{endpoint.management_password}"
        self._headers: Mapping[bytes | str, bytes | str] = {
            "Authorization": f"Basic {b64encode(user.encode()).decode()}",
            "Content-Type": "application/json",
            # A compressed answer could be a thousand times longer than what is received.
            "Accept-Encoding": "identity",
        }

    async def send(self, request: Request) -> Answer:
        """Send a request, and receive the whole answer in time.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        self._outage.check()
        self._login.check(MANAGEMENT)
        if not any(one.is_available() and not one.has_expired() for one in self._connections.connections):
            tls = self._endpoint.management.startswith("https:")
            await self._network.turn_to_connect(self._endpoint.namespace, tls=tls)
        try:
            async with asyncio.timeout(request.seconds):
                answer = await self._exchange(request)
        except (TooLargeError, *_FAILED) as error:
            why = "its answer is too large" if isinstance(error, TooLargeError) else faults.cause(error)
            is_late_write = isinstance(error, TimeoutError) and not request.only_reads
        else:
            self._outage.ended()
            return answer
        # Not raised above: a fault that is kept would keep the error, and that what was received.
        fault = (
            faults.not_written(self._endpoint) if is_late_write else faults.management_unreachable(self._endpoint, why)
        )
        self._outage.failed(fault)
        raise fault

    async def _exchange(self, request: Request) -> Answer:
        """Send a request; once more if it only reads and an idle connection turns out to be closed."""
        for is_last in (False, True):
            connected = False

            async def on_trace(event: str, _: object) -> None:
                nonlocal connected
                connected = connected or event == _CONNECTING
                if event == _SENDING and not request.only_reads and self._guard is not None:
                    self._guard()

            try:
                return await self._request(request, {"trace": on_trace})
            except _CONNECTION_LOST:
                if is_last or connected or not request.only_reads:
                    raise
        raise AssertionError

    async def _request(self, request: Request, extensions: Mapping[str, Any]) -> Answer:
        url = f"{self._endpoint.management}/api/{request.path.replace('{vhost}', segment(self._endpoint.vhost))}"
        limits = {"connect": CONNECT_TIMEOUT_SECONDS, "pool": REQUEST_TIMEOUT_SECONDS}
        async with self._connections.stream(
            request.method,
            url,
            headers={**self._headers, **request.headers},
            content=request.content,
            extensions={**extensions, "timeout": limits},
        ) as response:
            body = await self._network.bodies.receive(response.aiter_stream(), request.longest)
        if response.status != HTTPStatus.UNAUTHORIZED:
            self._login.accepted(MANAGEMENT)
        phrase = bytes(response.extensions.get("reason_phrase", b"")).decode("ascii", errors="replace")
        etag = next((value for name, value in response.headers if name.lower() == b"etag"), b"")
        return Answer(response.status, phrase[:PHRASE_CHARACTERS], body, etag.decode("ascii", errors="replace"))

    def fault(self, answer: Answer, operation: str) -> Fault:
        """Return the fault of a refusal; refused credentials delay further logins."""
        fault = answer.fault(self._endpoint, operation)
        if isinstance(fault, BrokerFault) and fault.reason is Reason.AUTHENTICATION_FAILED:
            self._login.refused(MANAGEMENT, fault)
        return fault

    async def close(self) -> None:
        """Close all connections that no other endpoint uses."""
        await self._network.release_http(self._endpoint)


def segment(name: str) -> str:
    """Quote a name as one segment of a path."""
    return quote(name, safe="")
