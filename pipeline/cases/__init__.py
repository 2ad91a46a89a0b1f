"""A case and its clocks: what case events mean, as a pure state machine."""
