"""The management API of the broker: connections, users, vhosts and permissions."""

from urllib.parse import quote

import httpx

from tests.integration.worker.eventually import eventually


def connections(management: httpx.Client, name: str) -> list[dict[str, str]]:
    """Return the connections whose client gave them this name."""
    return [
        connection
        for connection in management.get("/api/connections").json()
        if connection["client_properties"].get("connection_name") == name
    ]


async def close_connections(management: httpx.Client, name: str) -> None:
    """Close the connections of this name. A new connection is listed only after a while."""

    def closed() -> bool:
        found = connections(management, name)
        for connection in found:
            management.delete(f"/api/connections/{quote(connection['name'])}")
        return bool(found)

    await eventually(f"connection {name}", closed)


def close_connections_of_user(management: httpx.Client, user: str) -> None:
    """Close all connections of a user, also those that are not listed yet."""
    management.delete(f"/api/connections/username/{quote(user, safe='')}").raise_for_status()


def put_user(management: httpx.Client, user: str, password: str) -> None:
    """Create a user without tags, or change its password."""
    body = {"password": password, "tags": ""}
    management.put(f"/api/users/{quote(user, safe='')}", json=body).raise_for_status()


def delete_user(management: httpx.Client, user: str) -> None:
    management.delete(f"/api/users/{quote(user, safe='')}").raise_for_status()


def put_vhost(management: httpx.Client, vhost: str) -> None:
    management.put(f"/api/vhosts/{quote(vhost, safe='')}").raise_for_status()


def delete_vhost(management: httpx.Client, vhost: str) -> None:
    management.delete(f"/api/vhosts/{quote(vhost, safe='')}").raise_for_status()


def put_permissions(management: httpx.Client, user: str, vhost: str, permissions: dict[str, str]) -> None:
    """Set the permissions of a user: regular expressions for `configure`, `write` and `read`."""
    path = f"/api/permissions/{quote(vhost, safe='')}/{quote(user, safe='')}"
    management.put(path, json=permissions).raise_for_status()
