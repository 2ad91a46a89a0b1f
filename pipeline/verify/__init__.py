"""Every number recomputed from the raw tables, by code of its own: it shares none with the worker that counted."""
