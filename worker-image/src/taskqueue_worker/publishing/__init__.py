"""Publishes tasks: confirmed, mandatory, now or after a delay."""
