from collections.abc import AsyncIterator

import pytest

from .fake_amqp import FakeAmqp, connected
from .probe_loop import ProbeLoop


@pytest.fixture
async def loop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProbeLoop]:
    broker = FakeAmqp()
    made = ProbeLoop(broker, await connected(broker, monkeypatch))
    yield made
    made.prober.close()
    await made.reconnector.current.close()
