"""Client of the management API for one vhost.

The user needs the tag `management`, and in the vhost these permissions: configure on the exchanges and queues that are
declared or deleted; for bindings, write on the destination and read on the source; for dead letters, read on the queue
and write on `amq.default`. Policies need the tag `policymaker`, which includes `management`.
"""

import asyncio
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlencode

import httpcore
import orjson

from taskqueue_operator.resource.bounds import HTTP_BODY_BYTES
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.resource.lease import Guard

from . import faults
from .access import Access
from .answer import NOT_MANAGEMENT, PHRASE_CHARACTERS, Answer
from .bodies import TooLargeError
from .listing import parse_listing
from .login import MANAGEMENT
from .outage import Outage
from .request import REQUEST_TIMEOUT_SECONDS, Request
from .shapes import PARSER_ERRORS

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ALARMS: Final = frozenset({"memory", "disk"})
"""Resources for which a broker can have an alarm; it then blocks every connection that publishes."""
_CONNECTING: Final = "connection.connect_tcp.started"
"""Trace event of httpcore: there is no idle connection, and a new one is opened."""
_SENDING: Final = "http11.send_request_headers.started"
"""Trace event of httpcore: there is a connection, and the request is about to be sent."""
_CONNECTION_LOST: Final = (httpcore.NetworkError, httpcore.RemoteProtocolError)
_FAILED: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError)
"""OSError: a server that rejects our certificate does so after the handshake, and httpcore does not wrap the error."""


class Management:
    """Sends requests below `/api`, and maps errors to faults. Paths contain the vhost as `{vhost}`."""

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

    async def read(
        self,
        path: str,
        *,
        operation: str = "read the topology",
        seconds: float = REQUEST_TIMEOUT_SECONDS,
        **query: str,
    ) -> list[dict[str, Any]]:
        """Read a list.

        Args:
            path: Path of the list.
            operation: Describes the request in error messages.
            seconds: How long the answer may take.
            query: Parameters of the request.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        return await self.parse((await self._read(path, operation, query, seconds)).body)

    async def read_text(self, path: str, *, operation: str = "read the topology", **query: str) -> bytearray:
        """Read a list as it is sent.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        return (await self._read(path, operation, query)).body

    async def parse(self, text: bytearray) -> list[dict[str, Any]]:
        """Parse a list.

        Raises:
            BrokerFault: It does not come from a management API.
        """
        listing = await parse_listing(text)
        if listing is None:
            raise faults.management_unreachable(self._endpoint, NOT_MANAGEMENT)
        return listing

    async def read_object(self, path: str, *, operation: str) -> dict[str, Any]:
        """Read one object.

        Raises:
            TopologyFault, BrokerFault: It does not exist, or the management API cannot be used.
        """
        found = (await self._read(path, operation, {})).json()
        if not isinstance(found, dict):
            raise faults.management_unreachable(self._endpoint, NOT_MANAGEMENT)
        return found

    async def read_overview(self, *columns: str) -> dict[str, Any]:
        """Read properties of the broker as a whole.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        answer = await self._read("overview", "read the broker's version", {"columns": ",".join(columns)})
        overview = answer.json()
        if not isinstance(overview, dict):
            raise faults.management_unreachable(self._endpoint, NOT_MANAGEMENT)
        return overview

    async def read_tags(self) -> Collection[str]:
        """Read the tags of the user, such as `administrator`. Any user of the API may ask.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        user = (await self._read("whoami", "read the tags of the user", {})).json()
        tags = user.get("tags") if isinstance(user, dict) else None
        return tags if isinstance(tags, list) else str(tags).split(",")

    async def read_etag(self, path: str, known: str) -> str:
        """Read the ETag of what a path returns, not the body; empty if there is none.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        answer = await self._send("HEAD", path, headers={"If-None-Match": known} if known else {})
        return known if answer.status == HTTPStatus.NOT_MODIFIED else answer.etag

    async def read_alarms(self) -> frozenset[str]:
        """Read for which resources the broker has an alarm: `memory`, `disk`. Any user of the API may ask.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        answer = await self._send("GET", "health/checks/alarms")
        body = answer.json()
        alarms = body.get("alarms") if isinstance(body, dict) else None
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and isinstance(alarms, list):
            return ALARMS & {str(alarm.get("resource")) for alarm in alarms if isinstance(alarm, dict)}
        if answer.status != HTTPStatus.OK:
            raise self._fault(answer, "read the alarms of the broker")
        return frozenset()

    async def _read(
        self, path: str, operation: str, query: dict[str, str], seconds: float = REQUEST_TIMEOUT_SECONDS
    ) -> Answer:
        target = f"{path}?{urlencode(query)}" if query else path
        answer = await self._send("GET", target, longest=HTTP_BODY_BYTES, seconds=seconds)
        if answer.status != HTTPStatus.OK:
            raise self._fault(answer, operation)
        return answer

    @contextmanager
    def parsing(self) -> Iterator[None]:
        """Parse answers inside of this context.

        Raises:
            BrokerFault: An answer does not have the form that RabbitMQ's answers have.
        """
        try:
            yield
        except PARSER_ERRORS as error:
            raise faults.management_unreachable(self._endpoint, NOT_MANAGEMENT) from error

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
        answer = await self._send(method, path, content=orjson.dumps(body))
        if not answer.is_success:
            raise self._fault(answer, operation)

    async def delete(self, path: str, *, operation: str) -> None:
        """Delete an object; an object that is already gone counts as deleted.

        Raises:
            TopologyFault: The broker refuses.
            BrokerFault: The management API cannot be used.
        """
        answer = await self._send("DELETE", path)
        if not answer.is_success and answer.status != HTTPStatus.NOT_FOUND:
            raise self._fault(answer, operation)

    async def close(self) -> None:
        """Close all connections that no other endpoint uses."""
        await self._network.release_http(self._endpoint)

    async def _send(self, method: str, path: str, **options: Any) -> Answer:  # noqa: ANN401  the fields of a request
        """Send a request, and receive the whole answer in time."""
        request = Request(method, path, **options)
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

    def _fault(self, answer: Answer, operation: str) -> Fault:
        """Return the fault of a refusal; refused credentials delay further logins."""
        fault = answer.fault(self._endpoint, operation)
        if isinstance(fault, BrokerFault) and fault.reason is Reason.AUTHENTICATION_FAILED:
            self._login.refused(MANAGEMENT, fault)
        return fault


def segment(name: str) -> str:
    """Quote a name as one segment of a path."""
    return quote(name, safe="")
