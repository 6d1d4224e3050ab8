"""Whole messages of the product stand in one file, `tests/approved_messages.yaml`, which a person reads and approves.

Tests assert reasons and fields; where the whole message counts, `assert_approved` compares it with that file. So prose
is improved in the product and approved by one command, `make approve`, whose diff shows every changed sentence.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

import yaml

FILE: Final = Path(__file__).with_name("approved_messages.yaml")
RENEW: Final = "TASKQUEUE_APPROVE"
"""Environment variable: when set, messages are written to the file instead of compared with it."""


def assert_approved(key: str, message: str) -> None:
    """Fail unless `message` is the approved one of `key`.

    Args:
        key: Dotted name of the situation, such as `topology.immutable_drift`. Written as a literal in the test, so that
            a test finds entries that no test uses.
        message: The whole message, as the product writes it.
    """
    if os.environ.get(RENEW):
        _approve(key, message)
    assert read_approved().get(key) == message, f"not the approved message of {key}; `make approve` renews it"


def read_approved() -> dict[str, str]:
    """Return all approved messages by their keys."""
    return yaml.safe_load(FILE.read_text()) or {} if FILE.exists() else {}


def _approve(key: str, message: str) -> None:
    with FILE.with_suffix(".lock").open("w") as lock:  # several test processes write at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        messages = read_approved() | {key: message}
        FILE.write_text(yaml.safe_dump(messages, width=118, allow_unicode=True))
