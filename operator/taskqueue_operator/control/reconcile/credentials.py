"""Reads Secrets on first use and again every minute; a watch would need the right to read all Secrets."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog

from taskqueue_operator.control.ports import Cluster, Endpoint, VhostFactory
from taskqueue_operator.control.single_flight import SingleFlight
from taskqueue_operator.resource.faults import BrokerFault, Fault, Reason
from taskqueue_operator.resource.names import Key
from taskqueue_operator.resource.taskqueue import TaskQueue

REREAD_PERIOD_SECONDS: Final = 60.0


def secret_not_found(secret: Key) -> str:
    """Return the message for a missing Secret."""
    return (
        f"Secret {secret} not found. TaskQueues read Secrets of their own namespace. Create: kubectl -n "
        f"{secret.namespace} create secret generic {secret.name} --from-literal=uri=amqp://USER:PASS@HOST/"
    )


@dataclass(slots=True)
class _Known:
    read: SingleFlight[Mapping[str, bytes] | None]
    data: Mapping[str, bytes] | None = None
    users: set[Key] = field(default_factory=set)


class Credentials:
    """Reads each distinct Secret once for all TaskQueues that reference it, and notifies them when it has changed."""

    def __init__(self, cluster: Cluster, brokers: VhostFactory, on_change: Callable[[Key], None]) -> None:
        self._cluster = cluster
        self._brokers = brokers
        self._on_change = on_change
        self._known: dict[Key, _Known] = {}
        self._secrets: dict[Key, Key] = {}

    async def endpoint(self, taskqueue: TaskQueue) -> Endpoint:
        """Return the endpoint of a TaskQueue's broker.

        Raises:
            BrokerFault: The Secret is missing or invalid.
        """
        secret = Key(taskqueue.key.namespace, taskqueue.spec.broker.secret_ref.name)
        if self._secrets.get(taskqueue.key) != secret:
            self.forget(taskqueue.key)
            self._secrets[taskqueue.key] = secret
        data = await self._data(taskqueue.key, secret)
        return self._brokers.endpoint(secret, data, taskqueue.spec.broker.vhost)

    async def _data(self, user: Key, secret: Key) -> Mapping[str, bytes]:
        known = self._known.setdefault(secret, _Known(SingleFlight(partial(self._cluster.secret, secret))))
        known.users.add(user)
        if known.data is None:
            known.data = await known.read()
        if known.data is None:
            raise BrokerFault(Reason.SECRET_NOT_FOUND, secret_not_found(secret))
        return known.data

    async def reread(self, user: Key) -> None:
        """Read the Secret of one TaskQueue again at once: the broker refuses their credentials."""
        known = self._known.get(self._secrets[user]) if user in self._secrets else None
        if known is not None:
            await self._refresh(known)

    def forget(self, user: Key) -> None:
        """Drop a TaskQueue that no longer uses its Secret, and a Secret that no TaskQueue uses any more."""
        secret = self._secrets.pop(user, None)
        known = self._known.get(secret) if secret is not None else None
        if secret is not None and known is not None:
            known.users.discard(user)
            if not known.users:
                del self._known[secret]

    async def run(self) -> None:
        """Read every Secret in use again each minute, until cancelled."""
        while True:
            await asyncio.sleep(REREAD_PERIOD_SECONDS)
            for secret, known in list(self._known.items()):
                try:
                    await self._refresh(known)
                except Fault as fault:
                    structlog.get_logger("credentials").warning(
                        "Secret unreadable, retrying", secret=str(secret), reason=fault.reason
                    )

    async def _refresh(self, known: _Known) -> None:
        data = await known.read()
        if data == known.data:
            return
        known.data = data
        for user in list(known.users):
            self._on_change(user)
