"""A scenario whose finding is doubtful is tried again with longer tasks."""

import pytest

from taskqueue_drain.conformance import run
from taskqueue_drain.conformance.rules import Findings
from taskqueue_drain.conformance.scenarios import SCENARIOS
from taskqueue_drain.conformance.settings import Settings


@pytest.mark.parametrize(
    ("enough", "tried"),
    [(2, [2]), (5, [2, 6]), (18, [2, 6, 18]), (60, [2, 6, 18])],
    ids=["certain", "once more", "twice more", "never certain"],
)
async def test_a_task_that_was_too_short_is_followed_by_longer_ones(
    monkeypatch: pytest.MonkeyPatch, enough: float, tried: list[float]
) -> None:
    lengths: list[float] = []

    async def play(_: object, settings: Settings, __: object) -> tuple[Findings, str]:
        lengths.append(settings.task_seconds)
        findings = Findings(["drain"])
        findings.is_doubtful = settings.task_seconds < enough
        return findings, f"of {settings.task_seconds:g} s"

    monkeypatch.setattr(run, "_try", play)
    settings = Settings(["worker"], "amqp://broker", task_seconds=2)
    _, output = await run._run(SCENARIOS[0], settings, None)  # type: ignore[arg-type]  # the scenario is not played
    assert lengths == tried
    assert output == f"of {tried[-1]} s"
