"""Generates headers as anyone could publish them, decoded as the AMQP library decodes them."""

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import strategies as st

from taskqueue_operator.dead_letters import letter

OURS = [
    letter.REASON, letter.CLASS, letter.TEXT, letter.ATTEMPT, letter.FIRST_FAILURE, letter.LAST_FAILURE, letter.QUEUE,
    letter.EXCHANGE, letter.ROUTING_KEY, letter.DEATH, "CC", "BCC", "x-delivery-count", "x-last-death-queue",
]  # fmt: skip

TEXTS = (
    st.text()
    | st.text(min_size=200, max_size=400)
    | st.sampled_from(["", "\x1b[2J", "a\nb", "\ud800", "2026-11-28T12:00:00Z"])
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats()
    | TEXTS
    | st.binary()
    | st.builds(Decimal, st.integers())
    | st.datetimes(timezones=st.just(UTC))
    | st.sampled_from([datetime.min, datetime.max])  # noqa: DTZ901  the ends of the calendar
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=8
)
DEATHS = st.lists(
    st.dictionaries(st.sampled_from(["reason", "queue", "exchange", "routing-keys", "time", "count"]), VALUES) | VALUES
)
HEADERS = st.dictionaries(st.sampled_from(OURS) | st.text(), VALUES | DEATHS, max_size=12)
