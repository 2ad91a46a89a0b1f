"""Everything on one machine: starts the parts, sends something to look at, and ends all of it cleanly."""
