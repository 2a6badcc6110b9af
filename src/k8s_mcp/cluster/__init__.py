"""The cluster that runner pods live in: its objects, and how they are made, watched, followed and removed."""
