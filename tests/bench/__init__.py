"""Figures of the operator on a real cluster. They are printed and compared by people, never asserted."""
