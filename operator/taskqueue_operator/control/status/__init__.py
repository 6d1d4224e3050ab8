"""Builds conditions and writes the status."""
