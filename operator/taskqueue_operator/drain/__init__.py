"""Which workers may be removed: plans ordered actions from what the API and the workers show. Pure."""
