"""Who calls, and whether a request is let in at all."""
