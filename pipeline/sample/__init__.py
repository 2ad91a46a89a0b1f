"""Sample traffic: a shop of twelve touchpoints, seeded, with one real drop to notice."""
