"""Rendering at any size: chunks by content, shards in a cache, worker processes, and what is too long."""
