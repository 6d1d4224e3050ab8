"""A probe is answered on the loop of the connection, and fails if that loop stands still."""

import asyncio

import pytest

from taskqueue_worker.endpoints import AnswersOfLoop


class Health:
    """Is alive, not ready, and knows on which loop it is asked."""

    asked_on: asyncio.AbstractEventLoop | None = None

    @property
    def is_alive(self) -> bool:
        self.asked_on = asyncio.get_running_loop()
        return True

    is_ready = False


async def test_the_loop_answers_what_another_thread_asks() -> None:
    health, loop = Health(), asyncio.get_running_loop()
    answers = AnswersOfLoop(health, loop)
    assert await asyncio.to_thread(lambda: (answers.is_alive, answers.is_ready)) == (True, False)
    assert health.asked_on is loop


def test_a_loop_that_stands_still_or_is_closed_is_neither_alive_nor_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskqueue_worker.endpoints.ANSWER_SECONDS", 0.01)
    loop = asyncio.new_event_loop()
    answers = AnswersOfLoop(Health(), loop)
    assert not answers.is_alive
    loop.close()
    assert not answers.is_alive
