"""What dead letters say about themselves, in groups, and where each of them may return to. Pure."""
