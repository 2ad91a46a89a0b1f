"""What several tests use: real programs started for a test, and readers of what we ship."""
