"""Reads TaskQueues, and writes their finalizers and status, never their spec."""

from collections.abc import Sequence
from typing import Final

from taskqueue_operator.resource.faults import Conflict, Fault, Reason, excerpt
from taskqueue_operator.resource.names import GROUP, PLURAL, VERSION, Key

from .client import JSON_PATCH, MERGE_PATCH, Api, Body, path
from .faults import ApiError, unavailable

API: Final = f"apis/{GROUP}/{VERSION}"


async def read(api: Api, key: Key) -> Body | None:
    """Read a TaskQueue for a person; None if it does not exist.

    Raises:
        Fault: The API server cannot be used.
    """
    try:
        return await api.request("GET", path(API, PLURAL, key))
    except ApiError as error:
        if error.not_found:
            return None
        message = f"Kubernetes: cannot read TaskQueue {key}: {excerpt(error.message)}"
    # Raised outside of the except block, so that the exception has no context that contains the answer.
    raise Fault(Reason.API_UNAVAILABLE, message)


async def set_finalizers(api: Api, key: Key, finalizers: Sequence[str], *, resource_version: str) -> Body | None:
    """Replace the finalizers; None if the TaskQueue is gone.

    Raises:
        Conflict: The TaskQueue changed since `resource_version`.
        Fault: The API server cannot be used.
    """
    patch = {"metadata": {"resourceVersion": resource_version, "finalizers": list(finalizers)}}
    try:
        return await api.request(
            "PATCH", path(API, PLURAL, key), query={"fieldManager": api.manager}, body=patch, content=MERGE_PATCH
        )
    except ApiError as error:
        if error.not_found:
            return None
        if error.conflict:
            raise Conflict(error.message) from None
        raise unavailable(f"set the finalizers of TaskQueue {key}", error) from None


async def set_status(api: Api, key: Key, status: Body) -> Body | None:
    """Replace the whole status, so that fields that are left out disappear; None if the TaskQueue is gone.

    Raises:
        Fault: The API server cannot be used.
    """
    patch = [{"op": "add", "path": "/status", "value": status}]
    try:
        return await api.request(
            "PATCH",
            path(API, PLURAL, key, "status"),
            query={"fieldManager": api.manager},
            body=patch,
            content=JSON_PATCH,
        )
    except ApiError as error:
        if error.not_found:
            return None
        raise unavailable(f"write the status of TaskQueue {key}", error) from None
