"""Probing queues that do not exist or may not be read, in virtual time."""

import asyncio
from datetime import timedelta

import pytest

from taskqueue_operator.rabbitmq.negative_cache import BACKOFF
from taskqueue_operator.rabbitmq.probe import (
    PROMPT_SECONDS,
)
from taskqueue_operator.resource.faults import Reason

from .fake_amqp import READY
from .probe_loop import ProbeLoop, by_kind, names, now

pytestmark = [pytest.mark.looptime, pytest.mark.slow]


async def test_missing_queues_cost_the_others_nothing_and_the_broker_little(loop: ProbeLoop) -> None:
    missing, existing = names("missing", 20), names("existing", 40)
    await loop.rounds([*missing, *existing], 5)
    loop.broker.refusals |= dict.fromkeys(missing, (404, "NOT_FOUND - no queue"))
    begun = now()
    while now() - begun < timedelta(seconds=60):
        found = await loop.prober.probe([*missing, *existing])
        assert all(found[queue].ready == READY for queue in existing)
        assert all(found[queue].missing for queue in missing)
        await asyncio.sleep(0.25)
    assert loop.broker.refused <= len(missing) * (60 / BACKOFF.longest_seconds + 4), (
        "after 1, 2, 4, 8 s, then every 10 s"
    )

    loop.broker.refusals.clear()
    await asyncio.sleep(BACKOFF.longest_seconds)
    assert {probe.ready for probe in (await loop.prober.probe(missing)).values()} == {READY}


async def test_a_missing_queue_is_probed_again_as_soon_as_it_is_found(loop: ProbeLoop) -> None:
    loop.broker.refusals |= {"missing-0": (404, "NOT_FOUND"), "forbidden-0": (403, "ACCESS_REFUSED")}
    await loop.rounds(["missing-0", "forbidden-0"], 30)
    loop.broker.refusals.clear()

    loop.prober.on_queues_found({"missing-0", "forbidden-0", "other"})
    found = await loop.prober.probe(["missing-0", "forbidden-0"])

    assert found["missing-0"].ready == READY
    assert found["forbidden-0"].fault is not None, "it may still not be read"


async def test_the_backoff_of_a_missing_queue_restarts_after_an_answer(loop: ProbeLoop) -> None:
    for _ in range(3):
        loop.broker.refusals["jobs"] = (404, "NOT_FOUND")
        await loop.rounds(["jobs"], 5)
        loop.broker.refusals.clear()
        await loop.rounds(["jobs"], BACKOFF.longest_seconds)
        assert loop.last["jobs"].ready == READY
    loop.broker.refusals["jobs"] = (404, "NOT_FOUND")
    await loop.prober.probe(["jobs"])
    loop.broker.refusals.clear()
    await asyncio.sleep(BACKOFF.first_seconds + PROMPT_SECONDS)
    assert (await loop.prober.probe(["jobs"]))["jobs"].ready == READY


async def test_a_cached_refusal_counts_neither_as_answer_nor_as_silence(loop: ProbeLoop) -> None:
    loop.broker.refusals["missing-0"] = (404, "NOT_FOUND")
    await loop.prober.probe(["missing-0"])
    loop.broker.mute = True
    found = await loop.prober.probe(["missing-0"])
    assert found["missing-0"].missing
    assert loop.reconnector.answered == [True], "no probe was sent"

    await asyncio.sleep(BACKOFF.first_seconds)
    assert await loop.prober.probe(["missing-0"]) == {}
    assert loop.reconnector.answered == [True, False]


async def test_a_late_refusal_is_an_answer(loop: ProbeLoop) -> None:
    loop.broker.refusals["late-0"] = (404, "NOT_FOUND")
    loop.broker.delay = by_kind(late=PROMPT_SECONDS + 0.2)
    assert await loop.prober.probe(["late-0"]) == {}
    await asyncio.sleep(0.5)
    assert (await loop.prober.probe(["late-0"]))["late-0"].missing
    assert loop.reconnector.answered == [False, True]
    assert loop.broker.probed["late-0"] == 1


@pytest.mark.parametrize(("code", "reason"), [(403, Reason.PERMISSION_DENIED), (405, Reason.TOPOLOGY_REFUSED)])
async def test_a_queue_that_may_not_be_read_has_a_fault(loop: ProbeLoop, code: int, reason: Reason) -> None:
    loop.broker.refusals["forbidden-1"] = (code, "because of x")

    found = await loop.prober.probe(["forbidden-0", "forbidden-1"])

    assert found["forbidden-0"].ready == READY
    assert (found["forbidden-1"].ready, found["forbidden-1"].missing) == (None, False)
    fault = found["forbidden-1"].fault
    assert fault is not None
    assert fault.reason is reason
    assert 'queue "forbidden-1"' in fault.message
