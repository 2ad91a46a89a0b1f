"""How fast the worker is, beside what else could be run: `make bench`."""
