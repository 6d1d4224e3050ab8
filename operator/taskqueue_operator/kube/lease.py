"""Reads and writes the leader election Lease (coordination.k8s.io), on connections of its own.

So a renewal never waits for other requests. There is no guard: only the holder of this Lease may do guarded writes.
"""

from datetime import UTC, datetime
from typing import Final

from kubernetes.aio.client.api_client import ApiClient

from taskqueue_operator.resource.faults import Conflict
from taskqueue_operator.resource.lease import Lease
from taskqueue_operator.resource.names import ANNOTATION_EPOCH, MANAGER, Key

from .client import MERGE_PATCH, Api, Body, collection, path
from .faults import ApiError, unavailable

API: Final = "apis/coordination.k8s.io/v1"
LEASES: Final = "leases"
_MICRO_TIME: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


class KubernetesLease:
    """Implements the port `Leases`.

    Args:
        client: A client that is used for the Lease only.
        key: Namespace and name of the Lease.
        seconds: Duration of the Lease without a renewal; written for people who read the Lease.
    """

    def __init__(self, client: ApiClient, key: Key, *, seconds: float) -> None:
        self._api = Api(client, manager=MANAGER)
        self._key = key
        self._seconds = int(seconds)

    async def read(self) -> Lease | None:
        """Read the Lease; None if it does not exist."""
        try:
            return _parse(await self._api.request("GET", path(API, LEASES, self._key)))
        except ApiError as error:
            if error.not_found:
                return None
            raise unavailable(f"read Lease {self._key}", error) from None

    async def write(self, lease: Lease) -> Lease:
        """Write the Lease if it is at `lease.version`, or create it if `version` is empty; return the written Lease.

        Raises:
            Conflict: The Lease changed since it was read, or exists, or is gone.
            Fault: The API server cannot be used.
        """
        try:
            return _parse(await (self._patch if lease.version else self._create)(self._body(lease)))
        except ApiError as error:
            if error.conflict or (error.not_found and lease.version):
                raise Conflict(error.message) from None
            raise unavailable(f"write Lease {self._key}", error) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()

    async def _create(self, body: Body) -> Body:
        query = {"fieldManager": self._api.manager}
        return await self._api.request("POST", collection(API, LEASES, self._key.namespace), query=query, body=body)

    async def _patch(self, body: Body) -> Body:
        query = {"fieldManager": self._api.manager}
        return await self._api.request(
            "PATCH", path(API, LEASES, self._key), query=query, body=body, content=MERGE_PATCH
        )

    def _body(self, lease: Lease) -> Body:
        condition = {"resourceVersion": lease.version} if lease.version else {}
        annotations = {ANNOTATION_EPOCH: str(lease.epoch)}
        return {
            "apiVersion": API.removeprefix("apis/"),
            "kind": "Lease",
            "metadata": {"name": self._key.name, "annotations": annotations} | condition,
            "spec": {
                "holderIdentity": lease.holder,
                "leaseDurationSeconds": self._seconds,
                "leaseTransitions": lease.transitions,
                "acquireTime": _format(lease.acquired),
                "renewTime": _format(lease.renewed),
            },
        }


def _parse(body: Body) -> Lease:
    metadata, spec = body["metadata"], body.get("spec") or {}
    epoch = (metadata.get("annotations") or {}).get(ANNOTATION_EPOCH, "")
    return Lease(
        holder=spec.get("holderIdentity") or "",
        epoch=int(epoch) if epoch.isdecimal() else 0,
        transitions=spec.get("leaseTransitions") or 0,
        acquired=_parse_time(spec.get("acquireTime")),
        renewed=_parse_time(spec.get("renewTime")),
        version=metadata["resourceVersion"],
    )


def _format(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime(_MICRO_TIME) if moment is not None else None


def _parse_time(moment: str | None) -> datetime | None:
    return datetime.fromisoformat(moment) if moment else None
