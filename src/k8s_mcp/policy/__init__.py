"""Who may do what, on which clusters, and how much."""
