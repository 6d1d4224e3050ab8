"""Worker pods: their annotations."""

from collections.abc import Mapping

from taskqueue_operator.resource.names import Key

from .client import MERGE_PATCH, Api, Body, path
from .errors import ApiError, unavailable


async def annotate(api: Api, key: Key, annotations: Mapping[str, str | None], *, uid: str) -> Body | None:
    """Write annotations, None removes one; None when the pod is gone, or is another one of the same name.

    Raises:
        Fault: Any trouble.
    """
    body = {"metadata": {"uid": uid, "annotations": dict(annotations)}}
    query = {"fieldManager": api.manager}
    try:
        return await api.request("PATCH", path("api/v1", "pods", key), query=query, body=body, content=MERGE_PATCH)
    except ApiError as error:
        if error.missing or error.conflict:
            return None
        raise unavailable(f"annotate pod {key}", error) from None
