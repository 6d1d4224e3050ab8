"""A real broker for a played cluster."""

from collections.abc import Sequence
from typing import Any

import httpx

from tests.bench.played.broker import Item, Vhost
from tests.cluster.broker import Broker
from tests.idle_connections import KEEP_BRIEFLY

_FIELDS = ("name", "type", "durable", "auto_delete", "arguments")


class RealBroker:
    """A real broker in the place of a played one.

    Attributes:
        vhosts: The topology that the vhosts are to have.
    """

    def __init__(self, broker: Broker) -> None:
        self.amqp_port = broker.amqp_port
        self.management_port = broker.management_port
        self.vhosts = {"/": Vhost()}
        self._url = f"{broker.management_url}/api/"

    def http(self) -> httpx.AsyncClient:
        """Return a client of the management API."""
        return httpx.AsyncClient(base_url=self._url, auth=("guest", "guest"), timeout=600, limits=KEEP_BRIEFLY)

    async def declare(self, http: httpx.AsyncClient) -> None:
        """Declare the topology of the vhost `/` in one request."""
        listings = self.vhosts["/"].listings
        definitions = {
            "exchanges": [{**_part(item, _FIELDS), "internal": False} for item in listings["exchanges"]],
            "queues": [_part(item, _FIELDS) for item in listings["queues"]],
            "bindings": [dict(item) for item in listings["bindings"]],
        }
        (await http.post("definitions/%2F", json=definitions)).raise_for_status()


def _part(item: Item, fields: Sequence[str]) -> dict[str, Any]:
    return {key: item[key] for key in fields if key in item}
