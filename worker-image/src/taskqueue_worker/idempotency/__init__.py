"""Idempotency: a task that is done is not done again, and no two workers run one task at the same time."""

from .lease import Lease, current_lease
from .middleware import Idempotent
from .one_transaction import OneTransaction, current_connection

__all__ = ["Idempotent", "Lease", "OneTransaction", "current_connection", "current_lease"]
