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
    # By way of the status, which takes annotations too: the right to it is none to change what the pod runs.
    url = path("api/v1", "pods", key, "status")
    try:
        return await api.request("PATCH", url, query=query, body=body, content=MERGE_PATCH)
    except ApiError as error:
        if error.missing or error.another:
            return None
        raise unavailable(f"annotate pod {key}", error) from None
