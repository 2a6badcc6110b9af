"""Runs: each from accepted to cleaned up, its events, and the clusters that callers have stored."""
