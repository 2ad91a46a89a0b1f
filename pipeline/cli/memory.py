"""What a process does with memory that it has freed."""

from __future__ import annotations


def keep_freed_memory() -> None:
    """Glibc gives every large block back to the kernel at once; faulting it in anew costs more than to use it."""
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return  # another C library
    # one arena: the others give their pages back whatever these thresholds say
    for parameter, value in ((-3, 32 << 20), (-1, 256 << 20), (-8, 1)):  # mmap and trim thresholds, arenas
        mallopt(parameter, value)
