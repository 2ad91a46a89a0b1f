"""Where results go: ClickHouse, its HTTP door, Prometheus."""
