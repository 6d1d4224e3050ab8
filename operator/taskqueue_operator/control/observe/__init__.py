"""Reads brokers and keeps samples."""
