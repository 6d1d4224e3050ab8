"""The loop: cache, work queue, reconcile, observe, scale, report."""
