"""Plain JSON to and from the API server, with a limit on every wait. No models: they would cost more than the call."""

import asyncio
import os
import random
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import orjson
from kubernetes.aio.client.api_client import ApiClient, RequestSerialized
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from taskqueue_operator.resource.faults import Fault, Reason
from taskqueue_operator.resource.lease import Guard
from taskqueue_operator.resource.names import MANAGER, Key

from .errors import UNREACHABLE, ApiError

Body = dict[str, Any]

JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"

_CONNECTIONS: Final = 32
_TIMEOUT_SECONDS: Final = 10.0
_ATTEMPTS: Final = 4
_BACKOFF_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 5.0
_PAGE: Final = 500


async def connect(guard: Guard | None = None) -> ApiClient:
    """Find the API server: the one that `KUBECONFIG` names, else that of the pod, else that of ~/.kube/config.

    The `guard` is asked before each request that writes, and what it raises comes out of the request.

    Raises:
        Fault: None of them is there.
    """
    configuration = Configuration(connection_pool_maxsize=_CONNECTIONS)
    if guard is not None:
        configuration.trace_configs = [_guarded(guard)]
    try:
        if "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # has no types
        else:
            file = os.environ.get("KUBECONFIG")
            await load_kube_config(file, client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]  # likewise
    except ConfigException as error:
        message = f"No way to the API server: {error} Run in a pod with a ServiceAccount, or set KUBECONFIG."
        raise Fault(Reason.API_UNAVAILABLE, message, terminal=True) from None
    client = ApiClient(configuration)
    client.user_agent = MANAGER
    return client


def _guarded(guard: Guard) -> aiohttp.TraceConfig:
    """Ask at the last moment, for a request may have waited long for its connection.

    That is when aiohttp says that headers are sent: it says so right before they are.
    """
    trace = aiohttp.TraceConfig()

    async def send(_: object, __: object, request: aiohttp.TraceRequestHeadersSentParams) -> None:
        if request.method != "GET":
            guard()

    trace.on_request_headers_sent.append(send)
    return trace


def path(api: str, plural: str, key: Key, subresource: str = "") -> str:
    """Write the path of one object; `api` is `api/v1` or `apis/GROUP/VERSION`."""
    return f"{collection(api, plural, key.namespace)}/{quote(key.name, safe='')}{subresource and f'/{subresource}'}"


def collection(api: str, plural: str, namespace: str | None) -> str:
    """Write the path of all objects of a namespace, or of the cluster."""
    return f"/{api}/namespaces/{quote(namespace, safe='')}/{plural}" if namespace else f"/{api}/{plural}"


class Api:
    """One pool of connections to the API server, and the name under which we write.

    Requests are repeated, with growing pauses, while nothing or trouble of the moment comes back, for 10 s in all: so
    each of them must be one that may be repeated.
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
        """Make a request and return what the answer holds.

        Raises:
            ApiError: The answer is no success, or none came.
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
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await self._persistently(request)
        except TimeoutError:
            raise ApiError(UNREACHABLE, {"message": f"no answer within {_TIMEOUT_SECONDS:g} s"}) from None

    async def list_all(self, path: str, *, selector: str = "") -> list[Body]:
        """Read all objects of a collection, in pages.

        Raises:
            ApiError: As `request`.
        """
        query = {"limit": str(_PAGE)} | ({"labelSelector": selector} if selector else {})
        try:
            return await self._pages(path, query)
        except ApiError as error:
            if error.status != HTTPStatus.GONE:
                raise
        # It took so long that the pages do not fit together any more: all in one, then.
        return await self._pages(path, query | {"limit": "0"})

    async def close(self) -> None:
        """Let go of all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the library has no types here

    async def _pages(self, path: str, query: dict[str, str]) -> list[Body]:
        items: list[Body] = []
        while True:
            page = await self.request("GET", path, query=query)
            items += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                return items
            query = query | {"continue": token}

    async def _persistently(self, request: RequestSerialized) -> Body:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._once(request)
            except ApiError as error:
                pause = error.retry_after or _BACKOFF_SECONDS * 4 ** (attempt - 1)
                if attempt == _ATTEMPTS or not error.passing or pause > _LONGEST_PAUSE_SECONDS:
                    raise
            await asyncio.sleep(pause * random.uniform(1, 1.5))  # noqa: S311  jitter

    async def _once(self, request: RequestSerialized) -> Body:
        try:
            response = await self._client.call_api(*request, _request_timeout=_TIMEOUT_SECONDS)
            data = await response.read()  # type: ignore[no-untyped-call]  # the library has no types here
        except aiohttp.ClientError as error:
            raise ApiError(UNREACHABLE, {"message": f"{type(error).__name__}: {error}"}) from None
        answer = _parse(data)
        if answer is None or not response.status < HTTPStatus.MULTIPLE_CHOICES:
            raise ApiError(response.status, answer or {}, retry_after=_seconds(response.headers.get("Retry-After")))
        return answer


def _parse(data: bytes) -> Body | None:
    """Read JSON; None when it is none. An exception would carry the text, and with it perhaps a Secret."""
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return answer if isinstance(answer, dict) else None


def _seconds(retry_after: str | None) -> float | None:
    return float(retry_after) if retry_after and retry_after.isdecimal() else None
