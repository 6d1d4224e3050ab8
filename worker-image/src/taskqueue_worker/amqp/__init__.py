"""Deliveries and acknowledgements without the AMQP library, which would take most of the CPU of a short task."""
