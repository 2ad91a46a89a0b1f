"""A broker and a store for one machine, without Docker."""
