"""Rates: how many tasks may start in a time, in one process or in all."""

from .local_rate import LocalRate
from .shared_rate import SharedRate

__all__ = ["LocalRate", "SharedRate"]
