"""A run seen from its client: what it sends, the stream it reads, which service it speaks to."""
