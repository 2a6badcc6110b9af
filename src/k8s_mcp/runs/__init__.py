"""Runs: each from accepted to cleaned up, its events, and cluster handles."""
