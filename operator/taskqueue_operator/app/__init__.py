"""kopf handlers, HTTP endpoints, metrics, settings, main: the only place that wires things."""
