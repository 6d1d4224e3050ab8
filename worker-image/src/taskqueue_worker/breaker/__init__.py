"""Gives tasks back, and does not run them, while the service that they need is away."""

from .breaker import Breaker, BreakerOpenError

__all__ = ["Breaker", "BreakerOpenError"]
