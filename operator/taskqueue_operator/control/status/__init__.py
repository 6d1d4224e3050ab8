"""Writes conditions and figures into the status."""
