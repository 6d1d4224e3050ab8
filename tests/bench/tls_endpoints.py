"""The memory of a process that reads many endpoints over TLS, each with a user of its own.

`memory_mib` starts `python -m tests.bench.tls_endpoints` with the Secrets on its standard input, as the operator would
read them; that process ends when its input does.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
import uvloop

from taskqueue_operator.control.clock import loop_clock
from taskqueue_operator.control.observe.observer import Observer
from taskqueue_operator.control.observe.observers import Observers
from taskqueue_operator.rabbitmq.vhost import VhostFactory
from taskqueue_operator.resource.names import Key
from tests.cluster.broker import Broker
from tests.integration.rabbitmq.silent_listener import SilentListener

ENDPOINTS: Final = 250
QUEUE: Final = "tls-endpoints"
READ_SECONDS: Final = 240
_ROOT: Final = Path(__file__).parents[2]


def memory_mib(broker: Broker, *, endpoints: int = ENDPOINTS) -> float:
    """Return the resident memory, in MiB, of a process that reads a queue of a TLS broker through so many endpoints."""
    secrets = json.dumps(_secrets(broker, endpoints))
    path = os.pathsep.join(str(_ROOT / part) for part in ("operator", "worker-image/src", "."))
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.tls_endpoints"],
        input=secrets,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=300,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": path},
    )
    return float(done.stdout.splitlines()[-1])


def _secrets(broker: Broker, count: int) -> list[dict[str, str]]:
    """Create a queue and users, and return the data of a Secret for each user, encoded as in Kubernetes."""
    users = [f"tls-{number}" for number in range(count)]
    with httpx.Client(base_url=broker.management_url, auth=("guest", "guest"), verify=str(broker.ca_file)) as admin:
        rights = {"vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
        definitions = {
            "users": [{"name": user, "password": user, "tags": "management"} for user in users],
            "permissions": [{"user": user, **rights} for user in users],
            "queues": [{"name": QUEUE, "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}}],
        }
        admin.post("/api/definitions", json=definitions, timeout=60).raise_for_status()
    authority = broker.ca_file.read_text()
    texts = [
        {
            "uri": broker.url.replace("guest:guest", f"{user}:{user}"),
            "management-uri": broker.management_url,
            "ca.crt": authority,
        }
        for user in users
    ]
    return [{key: base64.b64encode(text.encode()).decode() for key, text in secret.items()} for secret in texts]


class _Telemetry:
    def __getattr__(self, _: str) -> "_Telemetry":
        return self

    def __call__(self, *_: object, **__: object) -> None: ...


async def _read(secrets: list[Mapping[str, str]]) -> None:
    """Read until every endpoint has been read, and print the memory."""
    clock = loop_clock(datetime.now(UTC))
    factory = VhostFactory(clock)
    observers = Observers(factory, SilentListener(at_zero=True), _Telemetry(), clock)
    for number, secret in enumerate(secrets):
        key = Key("media", f"tls-{number}")
        data = {name: base64.b64decode(value) for name, value in secret.items()}
        observer = observers.use(key, factory.endpoint(key, data, None))
        observer.follow(key, QUEUE)
        observer.subscribe_reports(key, enabled=True)
    unread = set(observers.running())
    try:
        async with asyncio.timeout(READ_SECONDS):
            while unread:
                await asyncio.sleep(1)
                unread = {observer for observer in unread if not _is_read(observer)}
    except TimeoutError:
        faults = Counter(str(observer.faults or observer.reading(QUEUE)) for observer in unread)
        sys.exit(f"{len(unread)} of {len(secrets)} endpoints were not read; the most frequent: {faults.most_common(1)}")
    print(_resident_mib())
    await observers.close()


def _is_read(observer: Observer) -> bool:
    """Whether both the probe and the sweep have an answer, and reports can arrive."""
    reading = observer.reading(QUEUE)
    return None not in {reading.at_least, reading.unacked} and observer.control_channel_fault is None


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    uvloop.run(_read(json.load(sys.stdin)))
