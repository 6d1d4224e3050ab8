"""Logins with refused credentials, and attempts during a long outage, in virtual time."""

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from taskqueue_operator.rabbitmq.login import AMQP, MANAGEMENT, Login
from taskqueue_operator.rabbitmq.outage import LONGEST_SECONDS, SHARE, Outage
from taskqueue_operator.resource.faults import BrokerFault, Reason

pytestmark = pytest.mark.looptime

REFUSED = BrokerFault(Reason.AUTHENTICATION_FAILED, "refused", terminal=True)
UNREACHABLE = BrokerFault(Reason.BROKER_UNREACHABLE, "no answer")


def allows(check: Callable[[], None]) -> bool:
    try:
        check()
    except BrokerFault:
        return False
    return True


async def attempts(login: Login, seconds: float) -> int:
    """Try as often as four connections do, each several times a second; the broker refuses."""
    made = 0
    for _ in range(int(seconds * 4)):
        tried = [side for side in (AMQP, AMQP, MANAGEMENT, MANAGEMENT) if allows(lambda side=side: login.check(side))]  # type: ignore[misc]  # mypy cannot infer a default
        for side in tried:
            login.refused(side, REFUSED)
        made += len(tried)
        await asyncio.sleep(0.25)
    return made


async def test_refused_credentials_are_tried_about_once_a_minute() -> None:
    login = Login()
    assert 4 <= await attempts(login, 60) <= 9
    assert 9 <= await attempts(login, 600) <= 21


async def test_a_refusal_by_the_management_api_does_not_hinder_amqp_that_has_accepted() -> None:
    login = Login()
    login.accepted(AMQP)
    login.refused(MANAGEMENT, REFUSED)
    assert (allows(lambda: login.check(AMQP)), allows(lambda: login.check(MANAGEMENT))) == (True, False)
    login.accepted(AMQP)
    assert not allows(lambda: login.check(MANAGEMENT))


async def test_accepted_credentials_are_used_at_once_by_all() -> None:
    login = Login()
    login.refused(AMQP, REFUSED)
    await asyncio.sleep(60)
    assert allows(lambda: login.check(AMQP))
    assert not allows(lambda: login.check(MANAGEMENT)), "one of them tries"
    login.accepted(AMQP)
    assert allows(lambda: login.check(MANAGEMENT))


async def test_a_server_that_is_away_for_long_is_asked_ever_less_often() -> None:
    outage, asked = Outage(), []
    for _ in range(3600 * 4):
        if allows(outage.check):
            asked.append(asyncio.get_running_loop().time())
            outage.failed(UNREACHABLE)
        await asyncio.sleep(0.25)
    pauses = [later - earlier for earlier, later in pairwise(asked)]
    assert max(pauses[:100]) <= 0.25, "a short outage is noticed at once"
    assert all(pause <= max(0.25, SHARE * at + 0.5) for at, pause in zip(asked[1:], pauses, strict=True))
    assert pauses[-1] == pytest.approx(LONGEST_SECONDS, abs=0.5)
    outage.ended()
    assert allows(outage.check)
    assert outage.failed(UNREACHABLE) == 0
