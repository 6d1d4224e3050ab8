"""Where `def` handlers run that are no business of the worker's own process."""
