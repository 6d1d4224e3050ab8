"""Identities of tasks as keys of a store. Publishers choose them."""

import hashlib
from typing import Final

KEY_CHARACTERS: Final = 200
"""A longer identity is replaced by its hash, and so is one that cannot be printed."""
LONGEST_KEEP_SECONDS: Final = 3650 * 86_400


def key(identity: str) -> str:
    """Return the key of an identity."""
    if len(identity) <= KEY_CHARACTERS and identity.isprintable():
        return identity
    return hashlib.sha256(identity.encode(errors="surrogatepass")).hexdigest()


def positive(option: str, seconds: float, longest: float = LONGEST_KEEP_SECONDS) -> float:
    """Return the value of an option.

    Raises:
        ValueError: It is out of range.
    """
    if not 1 <= seconds <= longest:
        raise ValueError(f"{option}={seconds!r} must be from 1 to {longest} seconds.")
    return float(seconds)
