"""Files with the address of an API server and the credentials of a client."""

import base64
import json
from pathlib import Path

from tests.cluster import cache
from tests.cluster.certificates import Authority


def write(file: Path, *, server: str, authority: Authority, user: str, groups: tuple[str, ...] = ()) -> Path:
    """A kubeconfig for `user`, complete in itself and readable by its owner only."""
    name = user.replace(":", "-")
    certificate = authority.issue(name, user, groups=groups)
    cluster = {"server": server, "certificate-authority-data": _encoded(authority.certificate_file)}
    key = _encoded(certificate.with_suffix(".key"))
    credentials = {"client-certificate-data": _encoded(certificate), "client-key-data": key}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "taskqueue", "cluster": cluster}],
        "users": [{"name": name, "user": credentials}],
        "contexts": [{"name": "taskqueue", "context": {"cluster": "taskqueue", "user": name}}],
        "current-context": "taskqueue",
    }
    return cache.put(file, json.dumps(content, indent=1))


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
