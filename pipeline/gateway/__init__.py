"""HTTP ingest: events in, acknowledged by the broker before the answer."""
