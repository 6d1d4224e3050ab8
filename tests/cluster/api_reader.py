"""Reads objects of an API server over connections that stay open: kubectl takes 0.2 s of a core for each question."""

import base64
import json
import ssl
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

Body = dict[str, Any]

_PATHS: Final[Mapping[str, str]] = {
    "deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "event": "/api/v1/namespaces/{}/events",
    "lease": "/apis/coordination.k8s.io/v1/namespaces/{}/leases",
    "namespace": "/api/v1/namespaces",
    "pod": "/api/v1/namespaces/{}/pods",
    "secret": "/api/v1/namespaces/{}/secrets",
    "taskqueue": "/apis/taskqueue.dev/v1alpha1/namespaces/{}/taskqueues",
}


def path_of(kind: str, namespace: str | None, name: str = "") -> str:
    """Return the path of an object, or without a name of all objects of a namespace, or of all namespaces."""
    path = _PATHS[kind].format(namespace) if namespace else _PATHS[kind].replace("/namespaces/{}", "")
    return f"{path}/{name}" if name else path


class ApiReader:
    """Reads as the user of a kubeconfig.

    A user without a certificate of its own in the file, as those of cloud providers, is left to kubectl.
    """

    def __init__(self, kubeconfig: Path, kubectl: Callable[..., str]) -> None:
        self._kubectl = kubectl
        self._client = api_client(kubeconfig)

    def close(self) -> None:
        """Close the connections."""
        if self._client:
            self._client.close()

    def get(self, kind: str, namespace: str, name: str) -> Body | None:
        """Return the object; None when there is none.

        Raises:
            RuntimeError: The API server does not answer, or refuses.
        """
        return self._read(path_of(kind, namespace, name))

    def list(self, kind: str, namespace: str | None, selector: str = "") -> list[Body]:
        """Return the objects with these labels, of one namespace or of all; none when the kind is unknown.

        Raises:
            RuntimeError: The API server does not answer, or refuses.
        """
        labels = httpx.QueryParams({"labelSelector": selector} if selector else {})
        found = self._read(f"{path_of(kind, namespace)}?{labels}")
        return found["items"] if found else []

    def logs(self, namespace: str, pod: str) -> str:
        """Return what the only container of a pod has logged; nothing when there is no such pod.

        Raises:
            RuntimeError: The API server does not answer, or refuses: the container has not started, say.
        """
        return self._text(f"/api/v1/namespaces/{namespace}/pods/{pod}/log") or ""

    def raw(self, path: str) -> str:
        """Return what the API server answers to a GET.

        Raises:
            RuntimeError: It does not answer, or refuses.
        """
        text = self._text(path)
        if text is None:
            raise RuntimeError(f"GET {path}: (NotFound)")
        return text

    def _read(self, path: str) -> Body | None:
        text = self._text(path)
        found: Body | None = None if text is None else json.loads(text)
        return found

    def _text(self, path: str) -> str | None:
        return self._text_by_kubectl(path) if self._client is None else _text(self._client, path)

    def _text_by_kubectl(self, path: str) -> str | None:
        try:
            return self._kubectl("get", f"--raw={path}")
        except RuntimeError as error:
            if "(NotFound)" in str(error):
                return None
            raise


def _text(client: httpx.Client, path: str) -> str | None:
    try:
        try:
            answer = client.get(path)
        except httpx.TransportError:  # a connection that was kept may have ended with the API server it led to
            answer = client.get(path)
    except httpx.TransportError as error:
        raise RuntimeError(f"GET {path}: {error!r}") from error
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    if answer.is_error:
        raise RuntimeError(f"GET {path}: {answer.text}")
    return answer.text


def api_client(kubeconfig: Path) -> httpx.Client | None:
    """Return a client with the certificate of this kubeconfig; None if it has another kind of credentials."""
    config = yaml.safe_load(kubeconfig.read_text())
    current = next(item["context"] for item in config["contexts"] if item["name"] == config["current-context"])
    user = next(item["user"] for item in config["users"] if item["name"] == current["user"])
    cluster = next(item["cluster"] for item in config["clusters"] if item["name"] == current["cluster"])
    data = [*map(user.get, ("client-certificate-data", "client-key-data")), cluster.get("certificate-authority-data")]
    if not all(data):
        return None
    certificate, key, authority = (base64.b64decode(part).decode() for part in data)
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # the module ssl reads certificates from files only
        file.write(f"{certificate}\n{key}")
        file.flush()
        context.load_cert_chain(file.name)
    return httpx.Client(base_url=cluster["server"], verify=context, timeout=120)
