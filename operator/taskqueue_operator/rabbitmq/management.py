"""Client of the management API for one vhost.

The user needs the tag `management`, and in the vhost these permissions: configure on the exchanges and queues that are
declared or deleted; for bindings, write on the destination and read on the source; for dead letters, read on the queue
and write on `amq.default`. Policies need the tag `policymaker`, which includes `management`.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from taskqueue_operator.resource.bounds import HTTP_BODY_BYTES
from taskqueue_operator.resource.lease import Guard

from . import faults
from .access import Access
from .answer import NOT_MANAGEMENT, Answer
from .listing import parse_listing
from .management_requests import ManagementRequests
from .request import REQUEST_TIMEOUT_SECONDS, Request
from .shapes import PARSER_ERRORS

ALARMS: Final = frozenset({"memory", "disk"})
"""Resources for which a broker can have an alarm; it then blocks every connection that publishes."""


class Management:
    """Reads and writes objects below `/api`. Paths contain the vhost as `{vhost}`."""

    def __init__(self, access: Access, guard: Guard | None = None) -> None:
        """`guard` is called before each request that writes; what it raises is raised by the request."""
        self._endpoint = access.endpoint
        self._requests = ManagementRequests(access, guard)

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
        answer = await self._requests.send(Request("HEAD", path, headers={"If-None-Match": known} if known else {}))
        return known if answer.status == HTTPStatus.NOT_MODIFIED else answer.etag

    async def read_alarms(self) -> frozenset[str]:
        """Read for which resources the broker has an alarm: `memory`, `disk`. Any user of the API may ask.

        Raises:
            BrokerFault: The management API cannot be used.
        """
        answer = await self._requests.send(Request("GET", "health/checks/alarms"))
        body = answer.json()
        alarms = body.get("alarms") if isinstance(body, dict) else None
        if answer.status == HTTPStatus.SERVICE_UNAVAILABLE and isinstance(alarms, list):
            return ALARMS & {str(alarm.get("resource")) for alarm in alarms if isinstance(alarm, dict)}
        if answer.status != HTTPStatus.OK:
            raise self._requests.fault(answer, "read the alarms of the broker")
        return frozenset()

    async def _read(
        self, path: str, operation: str, query: dict[str, str], seconds: float = REQUEST_TIMEOUT_SECONDS
    ) -> Answer:
        target = f"{path}?{urlencode(query)}" if query else path
        answer = await self._requests.send(Request("GET", target, longest=HTTP_BODY_BYTES, seconds=seconds))
        if answer.status != HTTPStatus.OK:
            raise self._requests.fault(answer, operation)
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
        answer = await self._requests.send(Request(method, path, content=orjson.dumps(body)))
        if not answer.is_success:
            raise self._requests.fault(answer, operation)

    async def delete(self, path: str, *, operation: str) -> None:
        """Delete an object; an object that is already gone counts as deleted.

        Raises:
            TopologyFault: The broker refuses.
            BrokerFault: The management API cannot be used.
        """
        answer = await self._requests.send(Request("DELETE", path))
        if not answer.is_success and answer.status != HTTPStatus.NOT_FOUND:
            raise self._requests.fault(answer, operation)

    async def close(self) -> None:
        """Close all connections that no other endpoint uses."""
        await self._requests.close()
