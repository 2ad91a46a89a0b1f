"""The way out of a source topic that was made anew or resized, and of a journal that cannot be read any more."""
