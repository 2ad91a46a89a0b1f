"""The built-in page: rolling scores, live."""
