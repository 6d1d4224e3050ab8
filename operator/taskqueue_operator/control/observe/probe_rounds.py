"""Probes queues in rounds; queues whose TaskQueues are scaled to zero more often than others."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from taskqueue_operator.control.clock import sleep_until
from taskqueue_operator.control.ports import Vhost
from taskqueue_operator.scaling.reading import Probe

from .read_health import ReadHealth
from .rounds import Rounds, batches

PROBE_PERIOD_SECONDS: Final = 1.0

OnAnswers = Callable[[Sequence[str], Mapping[str, Probe], float], Awaitable[None]]
"""Called with the queues of a batch, their answers, and the time of the loop at which the batch was due."""


class ProbeRounds:
    """Probes batches of queues at equal intervals. A queue whose former probe is unanswered is left out."""

    def __init__(self, vhost: Vhost, health: ReadHealth, on_answers: OnAnswers) -> None:
        self._vhost = vhost
        self._health = health
        self._on_answers = on_answers
        self._probing: set[str] = set()
        self._deciding = asyncio.Lock()
        """Held while the answers to a batch are decided on: one batch at a time, and meanwhile none begins."""

    async def run(
        self,
        group: asyncio.TaskGroup,
        queues_to_probe: Callable[[], list[str]],
        period_of: Callable[[int], float],
        ahead: float = 0.0,
    ) -> None:
        """Probe in rounds until cancelled; the batches run as tasks of `group`.

        Args:
            group: Where the batches run.
            queues_to_probe: Returns the queues of the next round.
            period_of: Returns the period of a round of so many queues, in seconds.
            ahead: How much sooner the second round follows, in seconds: spreads the rounds of all observers.
        """
        rounds = Rounds(ahead)
        while True:
            queues = queues_to_probe()
            period = period_of(len(queues))
            for slot, batch in batches(queues, period):
                due_at = rounds.started_at + slot
                await sleep_until(due_at)
                async with self._deciding:
                    # Not awaited: a batch with a slow queue must delay no other batch.
                    group.create_task(self._health.run("probe", partial(self._probe, batch, due_at)))
            await rounds.next(period)

    async def _probe(self, batch: Sequence[str], due_at: float) -> bool:
        queues = [queue for queue in batch if queue not in self._probing]
        answers: Mapping[str, Probe] = {}
        self._probing.update(queues)
        try:
            if queues:
                answers = await self._health.measure("probe", queues, lambda: self._vhost.probe(queues))
        finally:
            self._probing.difference_update(queues)
            # Without an answer too: readings age, and the spec may have changed.
            async with self._deciding:
                await self._on_answers(batch, answers, due_at)
        return bool(answers)
