"""The broker as its administrator uses it, through RabbitMQ's management API."""

from collections.abc import Collection
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from tests.idle_connections import KEEP_BRIEFLY
from tests.permissions import Grant, permissions

GATE = "gate"
"""An exchange of a test: it opens the gate of `tests.e2e.gate`."""
_NOT_OF_THE_OPERATOR = frozenset({"receipts", GATE})


class ManagementApi:
    """RabbitMQ's management API."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=120, limits=KEEP_BRIEFLY)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def is_reachable(self) -> bool:
        """Return whether the broker responds."""
        try:
            return self._client.get("/api/overview").is_success
        except httpx.HTTPError:
            return False

    def create_vhost(self, vhost: str) -> None:
        """Create a virtual host with a queue for receipts."""
        self._write("PUT", f"/api/vhosts/{vhost}", {})
        self._write("PUT", f"/api/permissions/{vhost}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
        self._write("PUT", f"/api/queues/{vhost}/receipts", {"durable": True})

    def create_queue(self, vhost: str, name: str) -> None:
        """Create a quorum queue."""
        arguments = {"x-queue-type": "quorum"}
        self._write("PUT", f"/api/queues/{vhost}/{name}", {"durable": True, "arguments": arguments})

    def delete_vhost(self, vhost: str) -> None:
        """Delete a virtual host with all its contents, which takes minutes for thousands of queues."""
        self._client.delete(f"/api/vhosts/{vhost}", timeout=180).raise_for_status()

    def put_user(self, name: str, password: str, vhost: str, grants: Collection[Grant]) -> None:
        """Create a user with these rights, and with the tag that the operator needs for deletions."""
        self.put_tags(name, password, "policymaker")
        self._write("PUT", f"/api/permissions/{vhost}/{name}", permissions(grants))

    def put_tags(self, name: str, password: str, tags: str) -> None:
        """Create or change a user; its rights in vhosts stay."""
        self._write("PUT", f"/api/users/{name}", {"password": password, "tags": tags})

    def put_policy(self, vhost: str, name: str, pattern: str, definition: dict[str, Any]) -> None:
        """Create or change a policy for queues."""
        policy = {"pattern": pattern, "definition": definition, "apply-to": "queues"}
        self._write("PUT", f"/api/policies/{vhost}/{name}", policy)

    def delete_user(self, name: str) -> None:
        """Delete a user; the broker closes its connections."""
        self._write("DELETE", f"/api/users/{name}")

    def open_gate(self, vhost: str, name: str = GATE) -> None:
        """Let the tasks that wait at a gate of a vhost finish."""
        self._write("PUT", f"/api/exchanges/{vhost}/{name}", {"type": "fanout", "durable": True})

    def collect(self, vhost: str, exchange: str, queue: str) -> None:
        """Create a queue with all messages of a fanout or topic exchange."""
        self._write("PUT", f"/api/queues/{vhost}/{queue}", {"durable": True})
        self._write("POST", f"/api/bindings/{vhost}/e/{exchange}/q/{queue}", {"routing_key": "#"})

    def queues(self, vhost: str) -> dict[str, dict[str, Any]]:
        """List the queues of a vhost with current totals, without those of the vhost, the tests and connections."""
        totals = {"disable_stats": "true", "enable_queue_totals": "true"}
        listed = self._client.get(f"/api/queues/{vhost}", params=totals).raise_for_status().json()
        return {
            queue["name"]: queue
            for queue in listed
            if queue["name"] not in _NOT_OF_THE_OPERATOR and not queue["name"].startswith(("amq.gen-", "taskqueue."))
        }

    def consumer_count(self, vhost: str, queue: str) -> int:
        """Count the consumers of a queue."""
        listed = self._client.get(f"/api/consumers/{vhost}").raise_for_status().json()
        return sum(consumer["queue"]["name"] == queue for consumer in listed)

    def exchanges(self, vhost: str) -> set[str]:
        """Name the exchanges of a vhost, without RabbitMQ's own, the vhost's and the tests'."""
        listed = self._client.get(f"/api/exchanges/{vhost}").raise_for_status().json()
        names = {exchange["name"] for exchange in listed}
        return {name for name in names - _NOT_OF_THE_OPERATOR if name and not name.startswith(("amq.", "taskqueue."))}

    def consume_all(self, vhost: str, queue: str) -> list[Any]:
        """Remove every message from a queue; return the payloads."""
        request = {"count": 10000, "ackmode": "ack_requeue_false", "encoding": "auto"}
        response = self._write("POST", f"/api/queues/{vhost}/{quote(queue, safe='')}/get", request)
        return [orjson.loads(message["payload"]) for message in response.json()]

    def _write(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return self._client.request(method, path, json=body).raise_for_status()
