"""A member's own side of the wire: its home directory, its keys, and signed HTTP requests.

Shared by the processes of agencies, platforms and nodes.
Refuses: a home whose files do not agree with one another, keys that others can read.
Entry points: `home.Home`, `http.NodeClient`.
"""
