"""Faust and aiokafka around the pure floors: agents, batching, the Kafka log, publishing, archiving."""
