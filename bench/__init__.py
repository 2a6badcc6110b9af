"""Figures of one run on one machine, side by side: `make bench`. docs/performance.md says how to read them."""
