"""The management API of one vhost, over HTTP.

The user needs the tag `management`, and in the vhost: configure on exchanges and queues that are made or deleted; for
bindings write on the destination and read on the source; for the queue's dead letters read on the queue and write on
`amq.default`. Deleting a TaskQueue writes a policy, which takes the tag `policymaker` (it includes `management`).
"""

import asyncio
import ssl
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason, TopologyFault
from taskqueue_operator.resource.lease import Guard

from . import faults
from .endpoint import Endpoint

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 20.0
"""A listing of 10,000 queues takes about a second; a broker that loses its leader may take several."""
CONNECTIONS: Final = 4
KEPT_SECONDS: Final = 3.0
"""RabbitMQ closes a connection after 5 s without a request: what is asked every 5 s would meet it closing."""
_SENDING: Final = "http11.send_request_headers.started"
"""What httpcore tells once there is a connection, right before the request goes out."""


class Management:
    """Requests below `/api`, and faults that say what to do. Paths hold the vhost as `{vhost}`."""

    def __init__(self, endpoint: Endpoint, guard: Guard | None = None) -> None:
        """The `guard` is asked before each request that writes, and what it raises comes out of the request."""
        self._endpoint = endpoint
        self._guard = guard
        # Plain HTTP never uses the context: an empty one saves loading the system's certificates.
        context = (
            endpoint.trust() if endpoint.management.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
        self._http = httpx.AsyncClient(
            # Never in the URL, which errors and logs show.
            auth=httpx.BasicAuth(endpoint.management_username, endpoint.management_password),
            verify=context,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=CONNECTIONS, keepalive_expiry=KEPT_SECONDS),
            # Neither a proxy nor a redirect may carry the password elsewhere.
            trust_env=False,
            follow_redirects=False,
        )

    async def read(self, path: str, *, act: str = "read the topology", **query: str) -> list[dict[str, Any]]:
        """Read a list; `act` is for the message when it cannot be had.

        Raises:
            BrokerFault: It cannot be had.
        """
        listing = await self._read(path, act, query)
        if not isinstance(listing, list):
            raise faults.management_unreachable(self._endpoint, "something else answers there")
        return listing

    async def read_overview(self, *columns: str) -> dict[str, Any]:
        """Read what the API says of the broker as a whole.

        Raises:
            BrokerFault: It cannot be had.
        """
        overview = await self._read("overview", "read which broker it is", {"columns": ",".join(columns)})
        if not isinstance(overview, dict):
            raise faults.management_unreachable(self._endpoint, "something else answers there")
        return overview

    async def _read(self, path: str, act: str, query: dict[str, str]) -> Any:  # noqa: ANN401  whatever is listed there
        response = await self._send("GET", path, params=query)
        if response.status_code != HTTPStatus.OK:
            raise self._fault(response, act=act)
        return _json(response)

    async def write(self, method: str, path: str, body: dict[str, Any], *, act: str) -> None:
        """Make an object; one that is there as asked stays untouched.

        Args:
            method: PUT or POST.
            path: Of the object.
            body: As the API wants it.
            act: For the message, such as `configure queue "jobs"`.

        Raises:
            TopologyFault: The broker refuses the object.
            BrokerFault: The broker cannot be used.
        """
        response = await self._send(method, path, content=orjson.dumps(body))
        if not response.is_success:
            raise self._fault(response, act=act)

    async def remove(self, path: str, *, act: str) -> None:
        """Remove an object; one that is gone already is fine.

        Raises:
            TopologyFault: The broker refuses.
            BrokerFault: The broker cannot be used.
        """
        response = await self._send("DELETE", path)
        if not response.is_success and response.status_code != HTTPStatus.NOT_FOUND:
            raise self._fault(response, act=act)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._http.aclose()

    async def _send(
        self, method: str, path: str, *, params: dict[str, str] | None = None, content: bytes | None = None
    ) -> httpx.Response:
        url = f"{self._endpoint.management}/api/{path.format(vhost=segment(self._endpoint.vhost))}"
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._http.request(
                    method,
                    url,
                    params=params,
                    content=content,
                    headers={"content-type": "application/json"},
                    extensions={"trace": self._told} if method != "GET" else None,
                )
        # OSError: what the other side has against our certificate arrives late, and as it is.
        except (httpx.HTTPError, OSError) as error:
            raise faults.management_unreachable(self._endpoint, faults.cause(error)) from None

    async def _told(self, event: str, _: object) -> None:
        if event == _SENDING and self._guard is not None:
            self._guard()

    def _fault(self, response: httpx.Response, *, act: str) -> Fault:
        """Tell apart what the API says with few status codes: 401 may be the password, a tag or a permission."""
        answer = _json(response)
        error, reason = (str(answer.get(key)) for key in ("error", "reason")) if isinstance(answer, dict) else ("", "")
        status = response.status_code
        if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return self._denied(reason, act)
        if status == HTTPStatus.NOT_FOUND and reason:
            return self._absent(error, reason, act)
        if status == HTTPStatus.BAD_REQUEST and reason:
            drift = reason.startswith("inequivalent arg")
            return TopologyFault(
                Reason.IMMUTABLE_DRIFT if drift else Reason.TOPOLOGY_REFUSED, f"RabbitMQ refuses to {act}: {reason}"
            )
        return faults.management_unreachable(self._endpoint, f"it answers {status} {response.reason_phrase}")

    def _denied(self, reason: str, act: str) -> BrokerFault:
        username = self._endpoint.management_username
        if reason == "Not management user":
            return faults.no_tag(self._endpoint, "management", "use the management API")
        if reason == "User not authorised to access object":
            return faults.no_tag(self._endpoint, "policymaker", act)
        if reason.startswith("Access refused") or "access to" in reason:
            return faults.forbidden(self._endpoint, username, act)
        return faults.wrong_management_password(self._endpoint)

    def _absent(self, error: str, reason: str, act: str) -> Fault:
        if error == "Object Not Found" or reason == "vhost_not_found":
            return faults.no_vhost(self._endpoint)
        if reason == "Not Found":
            return faults.vhost_forbidden(self._endpoint, self._endpoint.management_username)
        return TopologyFault(Reason.TOPOLOGY_REFUSED, f"RabbitMQ refuses to {act}: {reason}")


def segment(name: str) -> str:
    """Write a name as one segment of a path."""
    return quote(name, safe="")


def _json(response: httpx.Response) -> Any:  # noqa: ANN401  whatever the other side says
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None
