"""The demo: a trial consortium, a platform and a cloud drive, as real processes, and their story.

Job: found it, play it, report it step by step; then leave it running for a person to try.
Uses benign photographs without people, and names where they come from.
Entry point: `command.register`.
"""
