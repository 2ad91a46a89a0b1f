"""How fast the worker is, beside what else could be run: `make bench`."""

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as the worker has it; polars reads it when it is imported
