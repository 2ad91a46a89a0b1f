"""Exactly once: what a batch changes, in which order, and how it is found again. Over any log."""
