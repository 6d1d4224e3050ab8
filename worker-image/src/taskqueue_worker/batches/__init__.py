"""Batches: a handler receives the payloads of several messages at once, and each message is settled on its own."""
