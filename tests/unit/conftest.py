"""The number of examples of hypothesis: few by default, many with TASKQUEUE_DEEP=1."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("fast", max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", settings.get_profile("fast"), max_examples=400)
settings.load_profile("deep" if os.environ.get("TASKQUEUE_DEEP") else "fast")
