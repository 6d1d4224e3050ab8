"""Writes objects to an API server over connections that stay open: kubectl takes 0.2 s of a core for each write.

Each write can be sent again: a connection that was kept may have ended with the API server it led to.
"""

import json
from pathlib import Path
from typing import Any, Final

import httpx

from tests.cluster.api_reader import api_client, path_of

Body = dict[str, Any]

_MANAGER: Final = {"fieldManager": "tests", "fieldValidation": "Strict"}


class ApiWriter:
    """Writes as the user of a kubeconfig, who has a certificate of its own."""

    def __init__(self, kubeconfig: Path) -> None:
        client = api_client(kubeconfig)
        assert client is not None, f"{kubeconfig} has no certificate of its user"
        self._client = client

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def apply(self, body: Body, namespace: str | None = None) -> Body:
        """Create the object or change it to this, as `kubectl apply --server-side` does; return what is stored.

        Raises:
            RuntimeError: The API server does not answer, or refuses.
        """
        path = path_of(body["kind"].lower(), namespace, body["metadata"]["name"])
        answer = self._send("PATCH", path, body, "application/apply-patch+yaml", _MANAGER | {"force": "true"})
        if answer.is_error:
            raise RuntimeError(f"PATCH {path}: {answer.text}")
        stored: Body = answer.json()
        return stored

    def merge(self, kind: str, namespace: str, name: str, patch: Body) -> bool:
        """Change fields of an object, which may be a subresource: `pod/status`, say; return whether there is one.

        Raises:
            RuntimeError: The API server does not answer, or refuses.
        """
        kind, _, subresource = kind.partition("/")
        path = path_of(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return self._send("PATCH", path, patch, "application/merge-patch+json", _MANAGER).is_success

    def delete(self, kind: str, namespace: str | None, name: str = "") -> None:
        """Delete an object, or without a name all of the namespace, without a wait; there may be none.

        Raises:
            RuntimeError: The API server does not answer, or refuses.
        """
        self._send("DELETE", path_of(kind, namespace, name))

    def _send(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        content_type: str = "application/json",
        parameters: dict[str, str] | None = None,
    ) -> httpx.Response:
        content, headers = json.dumps(body) if body else None, {"Content-Type": content_type}

        def send() -> httpx.Response:
            return self._client.request(method, path, content=content, headers=headers, params=parameters)

        try:
            try:
                answer = send()
            except httpx.TransportError:
                answer = send()
        except httpx.TransportError as error:
            raise RuntimeError(f"{method} {path}: {error!r}") from error
        if answer.is_error and answer.status_code != httpx.codes.NOT_FOUND:
            raise RuntimeError(f"{method} {path}: {answer.text}")
        return answer
