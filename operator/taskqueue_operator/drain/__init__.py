"""Which workers may be removed: a plan of ordered actions from what the API and the workers show. Pure."""
