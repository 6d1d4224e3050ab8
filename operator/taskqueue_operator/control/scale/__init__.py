"""Decides on replicas and removes workers."""
