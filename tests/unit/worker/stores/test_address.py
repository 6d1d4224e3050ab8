"""Messages name a store, and never its password."""

import pytest

from taskqueue_worker.stores.address import address_of

SCHEMES = ("redis", "unix")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://user:secret@host/0", "host:6379"),
        ("redis://:secret@host:1/0", "host:1"),
        ("unix://user:secret@/run/redis.sock?db=1", "/run/redis.sock"),
    ],
)
def test_the_address_has_no_password(url: str, address: str) -> None:
    assert address_of(url, SCHEMES, 6379) == address


@pytest.mark.parametrize("url", ["redis://:1/secret@host:6379/0", "redis://:/secret@host/0", "redis://:s/ecret@host"])
def test_a_password_with_a_slash_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="%2F") as refused:
        address_of(url, SCHEMES, 6379)
    assert "ecret" not in str(refused.value)
