"""The journal, the outbox and the roll under a seeded scheduler that breaks everything around them."""
