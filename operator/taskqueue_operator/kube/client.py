"""Sends JSON requests to the API server, with timeout and retries. Models are not used: they cost more than a call."""

import asyncio
import os
import random
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from kubernetes.aio.client.api_client import ApiClient, RequestSerialized
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from taskqueue_operator.resource.backoff import Backoff
from taskqueue_operator.resource.bounds import LIST_PAGE_OBJECTS
from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.lease import Guard
from taskqueue_operator.resource.names import MANAGER, Key

from .bounded_objects import PIECE_BYTES, read_body
from .faults import UNREACHABLE, ApiError

Body = dict[str, Any]
Keep = Callable[[list[Body]], list[Body]]

JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"

MAX_CONNECTIONS: Final = 32
REQUEST_TIMEOUT_SECONDS: Final = 10.0
MAX_ATTEMPTS: Final = 4
BACKOFF: Final = Backoff(first_seconds=0.2, longest_seconds=5.0, factor=4.0)


async def connect(guard: Guard | None = None) -> ApiClient:
    """Return a client for the API server of `KUBECONFIG`, else of the pod, else of ~/.kube/config.

    `guard` is called before each request that writes; what it raises is raised by the request.

    Raises:
        Fault: There is no configuration for an API server.
    """
    configuration = Configuration(connection_pool_maxsize=MAX_CONNECTIONS)
    if guard is not None:
        configuration.trace_configs = [_guard_trace(guard)]
    try:
        if "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # has no types
        else:
            file = os.environ.get("KUBECONFIG")
            await load_kube_config(file, client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]  # likewise
    except ConfigException as error:
        message = f"No configuration for the API server: {error} Run in a pod with a ServiceAccount, or set KUBECONFIG."
        raise Fault(Reason.API_UNAVAILABLE, message, terminal=True) from None
    client = ApiClient(configuration)
    client.user_agent = MANAGER
    return client


def _guard_trace(guard: Guard) -> aiohttp.TraceConfig:
    """Call the guard as late as possible: a request may have waited for a connection.

    aiohttp emits this event immediately before it sends the headers.
    """
    trace = aiohttp.TraceConfig()

    async def on_headers_sent(_: object, __: object, request: aiohttp.TraceRequestHeadersSentParams) -> None:
        if request.method != "GET":
            guard()

    trace.on_request_headers_sent.append(on_headers_sent)
    return trace


def path(api: str, plural: str, key: Key, subresource: str = "") -> str:
    """Return the path of one object; `api` is `api/v1` or `apis/GROUP/VERSION`."""
    return f"{collection(api, plural, key.namespace)}/{quote(key.name, safe='')}{subresource and f'/{subresource}'}"


def collection(api: str, plural: str, namespace: str | None) -> str:
    """Return the path of all objects of a namespace, or of the cluster."""
    return f"/{api}/namespaces/{quote(namespace, safe='')}/{plural}" if namespace else f"/{api}/{plural}"


class Api:
    """One connection pool to the API server, and the name of the field manager.

    A request is repeated with backoff while there is no answer or a transient error, for 10 s in total. So every
    request must be idempotent.
    """

    def __init__(self, client: ApiClient, *, manager: str) -> None:
        self._client = client
        self.manager = manager

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Body | list[Body] | None = None,
        content: str = JSON,
    ) -> Body:
        """Send a request and return the body of the answer.

        Raises:
            ApiError: The answer is an error, or there is none.
        """
        request = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Accept": JSON, "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_SECONDS):
                return await self._send_with_retries(request)
        except TimeoutError:
            raise ApiError(UNREACHABLE, {"message": f"no answer within {REQUEST_TIMEOUT_SECONDS:g} s"}) from None

    async def list_all(self, path: str, *, selector: str = "", keep: Keep = list) -> list[Body]:
        """Read all objects of a collection, in pages.

        Args:
            path: The path of the collection.
            selector: A label selector.
            keep: What to keep of the objects of a page.

        Raises:
            ApiError: As for `request`.
        """
        query = {"limit": str(LIST_PAGE_OBJECTS)} | ({"labelSelector": selector} if selector else {})
        try:
            return await self._pages(path, query, keep)
        except ApiError as error:
            if error.status != HTTPStatus.GONE:
                raise
        # The continue token has expired, so the remaining pages are lost: read all objects in one page.
        return await self._pages(path, query | {"limit": "0"}, keep)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the library has no types here

    async def _pages(self, path: str, query: dict[str, str], keep: Keep) -> list[Body]:
        items: list[Body] = []
        while True:
            page = await self.request("GET", path, query=query)
            items += keep(page["items"])
            token = page["metadata"].get("continue")
            if not token:
                return items
            query = query | {"continue": token}

    async def _send_with_retries(self, request: RequestSerialized) -> Body:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._send(request)
            except ApiError as error:
                delay = error.retry_after or BACKOFF.seconds(attempt - 1)
                if attempt == MAX_ATTEMPTS or not error.transient or delay > BACKOFF.longest_seconds:
                    raise
            await asyncio.sleep(delay * random.uniform(1, 1.5))  # noqa: S311  jitter

    async def _send(self, request: RequestSerialized) -> Body:
        try:
            response = await self._client.call_api(*request, _request_timeout=REQUEST_TIMEOUT_SECONDS)
            body = await _read(response.response)
        except aiohttp.ClientError as error:
            raise ApiError(UNREACHABLE, {"message": f"{type(error).__name__}: {error}"}) from None
        if body is None or not response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise ApiError(response.status, body or {}, retry_after=_seconds(response.headers.get("Retry-After")))
        return body


async def _read(response: aiohttp.ClientResponse) -> Body | None:
    """Return the JSON object, or None. An exception would contain the text, and it may be a Secret."""
    try:
        return await read_body(response.content.iter_chunked(PIECE_BYTES))
    except ValueError:
        return None
    finally:
        response.release()


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
