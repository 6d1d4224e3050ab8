"""Long simulations of a queue, its workers and decisions on it, with faults, in virtual time.

hypothesis draws the policies and the phases. Within a phase, a random generator with a drawn seed is used, so that
hundreds of thousands of decisions are possible. A failing decision is a recording, so it needs no shrinking.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Final

from hypothesis import strategies as st

from taskqueue_operator.resource.behavior import PolicyType, SelectPolicy
from taskqueue_operator.resource.scaling import FallbackBehavior, Mode
from taskqueue_operator.scaling import decision
from taskqueue_operator.scaling.decide import decide
from taskqueue_operator.scaling.decision import Obstacle, Workers
from taskqueue_operator.scaling.memory import Memory
from taskqueue_operator.scaling.policy import Fallback, Policy, Rate, Rules
from taskqueue_operator.scaling.reading import Doubt, Reading
from taskqueue_operator.scaling.recording import Recording
from taskqueue_operator.scaling.schedule import Schedule

from .builders import at

STEPS: Final = 100
"""Number of decisions in each phase."""
MAX_REPLICAS: Final = 50
"""Upper limit of maxReplicas in all policies."""
OBSTACLES: Final = tuple(Obstacle(reason, "a reason") for reason in sorted(decision.OBSTACLE_REASONS))


@dataclass(frozen=True)
class Phase:
    """Probabilities of events in a part of a simulation.

    Attributes:
        pauses: Seconds between two decisions.
        depth: Approximate number of ready messages.
        lulls: Probability that an idle time begins or ends.
        doubted: Probability that a reading has no `at_most`; 1: the queue is unreadable.
        lost: Probability that a decision is not applied.
        obstructed: Probability of an obstacle.
        by_hand: Probability of a manual change of the replicas before a decision.
        restarts: Probability of a restart of the operator before a decision.
    """

    policy: Policy
    pauses: tuple[float, ...]
    depth: int
    lulls: float
    doubted: float
    lost: float
    obstructed: float
    by_hand: float
    restarts: float


def spans(*seconds: int) -> st.SearchStrategy[timedelta]:
    return st.sampled_from([timedelta(seconds=duration) for duration in seconds])


rates = st.builds(Rate, st.just(PolicyType.PODS), st.integers(1, 10), spans(1, 5, 15, 60, 300)) | st.builds(
    Rate, st.just(PolicyType.PERCENT), st.sampled_from([1, 10, 25, 50, 100, 150, 900]), spans(1, 5, 15, 60, 300)
)
rules = st.builds(
    Rules,
    window=spans(0, 0, 0, 1, 5, 30, 120),
    rates=st.just(()) | st.lists(rates, min_size=1, max_size=3).map(tuple),
    select=st.sampled_from([*[SelectPolicy.MAX, SelectPolicy.MIN] * 4, SelectPolicy.DISABLED]),
    tolerance=st.sampled_from([*[Decimal(0)] * 6, Decimal("0.05"), Decimal("0.5"), Decimal(2)]),
)


def schedules(highest: int) -> st.SearchStrategy[tuple[Schedule, ...]]:
    """Schedules that are active in the first half of every ten minutes, or never because they are invalid."""
    return st.lists(
        st.builds(
            Schedule,
            name=st.just("often"),
            time_zone=st.sampled_from(["Asia/Kolkata", "UTC", "Mars/Olympus"]),
            start=st.just("*/10 * * * *"),
            end=st.just("5-59/10 * * * *"),
            min_replicas=st.integers(1, highest),
        ),
        max_size=2,
    ).map(tuple)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    highest = draw(st.integers(1, MAX_REPLICAS))
    fallback = st.builds(Fallback, spans(15, 60), st.integers(0, highest), st.sampled_from(FallbackBehavior))
    mode = draw(st.sampled_from([Mode.AUTO] * 18 + [Mode.DRY_RUN, Mode.PAUSED]))
    return Policy(
        max_replicas=highest,
        min_replicas=draw(st.sampled_from([0, 0, 0, 1, highest // 2, highest])),
        ready_per_replica=draw(st.sampled_from([1, 7, 20, 100])),
        activation_ready=draw(st.sampled_from([0, 0, 3, 50])),
        idle=draw(spans(0, 1, 10, 60)),
        scale_up=draw(rules),
        scale_down=draw(rules),
        schedules=draw(st.just(()) | schedules(highest)),
        fallback=draw(st.none() | fallback),
        concurrency=draw(st.sampled_from([1, 1, 4])),
        mode=mode,
        paused_replicas=draw(st.none() | st.integers(0, 60)) if mode is Mode.PAUSED else None,
    )


@dataclass(frozen=True)
class Scenario:
    """Probabilities from which the phases of a simulation are drawn, and the number of policies."""

    doubted: tuple[float, ...] = (0, 0.05, 0.5, 1)
    lost: tuple[float, ...] = (0, 0.1)
    obstructed: tuple[float, ...] = (0, 0.3, 1)
    by_hand: tuple[float, ...] = (0, 0.01)
    restarts: tuple[float, ...] = (0, 0.01)
    policies: int = 2

    def phase(self, policy: Policy) -> st.SearchStrategy[Phase]:
        return st.builds(
            Phase,
            policy=st.just(policy),
            pauses=st.sampled_from([(1.0,), (0.25, 1.0, 2.5), (1.0, 1.0, 1.0, 5.0, 40.0)]),
            depth=st.sampled_from([3, 60, 400, 2000]),
            lulls=st.sampled_from([0, 0.02, 0.1]),
            doubted=st.sampled_from(self.doubted),
            lost=st.sampled_from(self.lost),
            obstructed=st.sampled_from(self.obstructed),
            by_hand=st.sampled_from(self.by_hand),
            restarts=st.sampled_from(self.restarts),
        )

    @st.composite
    @staticmethod
    def simulations(draw: st.DrawFn, scenario: "Scenario") -> tuple[int, list[Phase]]:
        """Draw a seed and four phases."""
        drawn = [draw(policies()) for _ in range(scenario.policies)]
        return draw(st.integers(0, 2**32)), [draw(scenario.phase(draw(st.sampled_from(drawn)))) for _ in range(4)]


@dataclass
class State:
    """State between two decisions."""

    random: Random
    now: float = 0.0
    depth: int = 0
    lull: bool = False
    replicas: int = 0
    ready: int = 0
    obstacle: Obstacle | None = None
    memory: Memory = field(default_factory=Memory)

    def pass_time(self, phase: Phase) -> None:
        self.now += self.random.choice(phase.pauses)
        if self._happens(phase.lulls):
            self.lull = not self.lull
            self.depth = 0
        if not self.lull and self._happens(0.3):
            wave = (self.depth, self.depth * 9 // 10, self.depth * 11 // 10, 0, phase.depth, self._up_to(phase.depth))
            self.depth = self.random.choice(wave)
        if self._happens(phase.by_hand):
            self.replicas = self._up_to(phase.policy.max_replicas + 5)
        if self._happens(phase.restarts):
            self.memory = Memory()
        if self._happens(0.1):
            self.obstacle = self.random.choice(OBSTACLES) if self._happens(phase.obstructed) else None
        self.ready = min(self.replicas, self.ready + self._up_to(3))

    def reading(self, phase: Phase) -> Reading:
        now = at(self.now)
        unacked = (
            0
            if self.lull and self._happens(0.9)
            else self._up_to(self.ready * phase.policy.concurrency * self.random.choice((0, 1, 4)))
        )
        if not self._happens(phase.doubted):
            more = 0 if self.lull else self.random.choice((0, 0, 0, 1, self._up_to(phase.depth)))
            return Reading(now, self.depth, self.depth + more, unacked, held_at_least=self._up_to(unacked))
        doubt = self.random.choice(list(Doubt))
        at_least = None if phase.doubted == 1 else self.random.choice((None, 0, self.depth))
        held = self.random.choice((None, unacked))
        return Reading(now, at_least, None, held, doubt, held)

    def apply(self, made: Recording, phase: Phase) -> None:
        self.memory = made.decision.memory
        if made.policy.mode is not Mode.DRY_RUN and not self._happens(phase.lost):
            self.replicas = made.decision.desired
            self.ready = min(self.ready, self.replicas)

    def _happens(self, share: float) -> bool:
        return share > 0 and self.random.random() < share

    def _up_to(self, most: int) -> int:
        return self.random.randint(0, most)


def simulate(seed: int, phases: list[Phase]) -> Iterator[Recording]:
    """Decide `STEPS` times in each phase; apply each decision, or lose it."""
    state = State(Random(seed))
    for phase in phases:
        for _ in range(STEPS):
            state.pass_time(phase)
            reading, workers = state.reading(phase), Workers(state.replicas, state.ready, state.obstacle)
            now, memory = at(state.now), state.memory
            made = Recording(
                now, reading, workers, phase.policy, memory, decide(reading, workers, phase.policy, memory, now)
            )
            yield made
            state.apply(made, phase)


def more_ready(reading: Reading, more: int) -> Reading:
    """Return the reading with more messages."""
    at_least, at_most = (None if bound is None else bound + more for bound in (reading.at_least, reading.at_most))
    return replace(reading, at_least=at_least, at_most=at_most)
