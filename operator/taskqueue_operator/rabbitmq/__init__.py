"""Speaks to RabbitMQ: management API and depth probe. I/O."""
