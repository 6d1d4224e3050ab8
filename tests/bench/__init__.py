"""Benchmarks of the operator on a real cluster. Their figures are printed for people to compare, never asserted."""
