"""What Redis says of a claim is read with care: others may have written to it."""

from typing import cast

from taskqueue_worker.idempotency.claims import Claim
from taskqueue_worker.idempotency.redis_claims import RedisClaims
from taskqueue_worker.stores import RedisStore


async def test_a_claim_that_others_have_made_endless_has_a_pause_that_is_valid() -> None:
    class Answering:
        async def run(self, *_: object) -> list[object]:
            return [b"running", -1]

    claims = RedisClaims(cast("RedisStore", Answering()))
    assert await claims.claim("id", 60) == Claim(None, is_done=False, seconds=0)
