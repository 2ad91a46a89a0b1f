"""What an app imports to emit touchpoints and survey responses."""
