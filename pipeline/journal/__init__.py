"""Exactly once: what a batch changes, in which order that counts, and how it is found again. Over any log, any clock."""
