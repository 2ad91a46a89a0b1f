"""What live counting left out, as cells of their own: late data, history, a changed mapping."""
