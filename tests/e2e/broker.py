"""The broker as its administrator sees it, by the management API."""

from typing import Any
from urllib.parse import quote

import httpx
import orjson


class Broker:
    """RabbitMQ's management API."""

    def __init__(self, management: str) -> None:
        self._client = httpx.Client(base_url=management, timeout=20)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def answers(self) -> bool:
        """Whether it is there."""
        try:
            return self._client.get("/api/overview").is_success
        except httpx.HTTPError:
            return False

    def add_vhost(self, vhost: str) -> None:
        """Make a virtual host, with a queue for receipts."""
        self._write("PUT", f"/api/vhosts/{vhost}", {})
        self._write("PUT", f"/api/permissions/{vhost}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
        self._write("PUT", f"/api/queues/{vhost}/receipts", {"durable": True})

    def add_queue(self, vhost: str, name: str) -> None:
        """Make a quorum queue."""
        arguments = {"x-queue-type": "quorum"}
        self._write("PUT", f"/api/queues/{vhost}/{name}", {"durable": True, "arguments": arguments})

    def delete_vhost(self, vhost: str) -> None:
        """Remove a virtual host with all that is in it, which takes a while for thousands of queues."""
        self._client.delete(f"/api/vhosts/{vhost}", timeout=180).raise_for_status()

    def add_user(self, name: str, password: str, vhost: str, *, tags: str = "policymaker") -> None:
        """Make a user, or change its tags; by default it has all rights that the operator needs in a vhost."""
        self._write("PUT", f"/api/users/{name}", {"password": password, "tags": tags})
        self._write("PUT", f"/api/permissions/{vhost}/{name}", {"configure": ".*", "write": ".*", "read": ".*"})

    def delete_user(self, name: str) -> None:
        """Remove a user; its connections are closed."""
        self._write("DELETE", f"/api/users/{name}")

    def queues(self, vhost: str) -> dict[str, dict[str, Any]]:
        """List the queues of a vhost with fresh totals, without the one for receipts and those of connections."""
        totals = {"disable_stats": "true", "enable_queue_totals": "true"}
        listed = self._client.get(f"/api/queues/{vhost}", params=totals).raise_for_status().json()
        return {
            each["name"]: each
            for each in listed
            if each["name"] != "receipts" and not each["name"].startswith("amq.gen-")
        }

    def consumers(self, vhost: str, queue: str) -> int:
        """Count those who consume a queue."""
        listed = self._client.get(f"/api/consumers/{vhost}").raise_for_status().json()
        return sum(each["queue"]["name"] == queue for each in listed)

    def exchanges(self, vhost: str) -> set[str]:
        """Name the exchanges of a vhost but for RabbitMQ's own, and that of the control protocol."""
        listed = self._client.get(f"/api/exchanges/{vhost}").raise_for_status().json()
        names = {exchange["name"] for exchange in listed}
        return {name for name in names if name and not name.startswith("amq.") and name != "taskqueue.reports"}

    def take(self, vhost: str, queue: str) -> list[Any]:
        """Take every message out of a queue; their payloads."""
        question = {"count": 10000, "ackmode": "ack_requeue_false", "encoding": "auto"}
        taken = self._write("POST", f"/api/queues/{vhost}/{quote(queue, safe='')}/get", question).json()
        return [orjson.loads(message["payload"]) for message in taken]

    def _write(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return self._client.request(method, path, json=body).raise_for_status()
