"""Benchmarks: figures from real processes, real keys and meaningless listings.

A benchmark measures and says on what machine; it never passes or fails by a time.
Entry point: `command.register`.
"""
