"""Annotations of worker pods."""

from collections.abc import Mapping

from taskqueue_operator.resource.names import Key

from .client import MERGE_PATCH, Api, Body, path
from .faults import ApiError, unavailable


async def annotate(api: Api, key: Key, annotations: Mapping[str, str | None], *, uid: str) -> Body | None:
    """Write annotations; the value None removes one. Returns None if no pod has this name and UID.

    Raises:
        Fault: The API server cannot be used.
    """
    body = {"metadata": {"uid": uid, "annotations": dict(annotations)}}
    query = {"fieldManager": api.manager}
    # Through the subresource status, which accepts annotations: its permission does not allow a change of the spec.
    url = path("api/v1", "pods", key, "status")
    try:
        return await api.request("PATCH", url, query=query, body=body, content=MERGE_PATCH)
    except ApiError as error:
        if error.not_found or error.uid_differs:
            return None
        raise unavailable(f"annotate pod {key}", error) from None
