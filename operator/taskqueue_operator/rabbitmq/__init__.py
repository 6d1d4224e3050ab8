"""The RabbitMQ client: management API, depth probe and control channel. I/O."""
