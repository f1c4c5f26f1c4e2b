"""A member's verified copy of the log: what a follower proved, kept durably.

Refuses: a store whose leaves do not hash to its stored checkpoint, or whose blobs were exchanged.
Entry points: `replica.Replica`, `replica.Identity`, `source.LogSource`; `past` goes over to a
log that continues the one that was followed.
"""
