"""A log read from a static mirror, its blobs from a node: neither is believed anything."""

from accord.client.http import NodeClient


class MirroredLog:
    """A `replica.LogSource`. Closing the two clients is their owner's."""

    def __init__(self, mirror: NodeClient, node: NodeClient) -> None:
        self._mirror = mirror
        self._node = node

    @property
    def name(self) -> str:
        return f"{self._mirror.name} (blobs: {self._node.name})"

    def fetch_checkpoint(self) -> bytes:
        return self._mirror.fetch_checkpoint()

    def fetch_transitions(self) -> list[int]:
        return self._mirror.fetch_transitions()

    def fetch_checkpoint_at(self, size: int) -> bytes:
        return self._mirror.fetch_checkpoint_at(size)

    def fetch_tile(self, path: str) -> bytes:
        return self._mirror.fetch_tile(path)

    def fetch_blob(self, digest: bytes) -> bytes:
        return self._node.fetch_blob(digest)
