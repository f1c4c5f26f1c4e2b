"""Follows the gateway's list: retries what waits, and looks at stored files again on a change.

Resumable: every file remembers the list it was last looked at with, so a stop costs nothing.
"""

import asyncio
import logging
from typing import Final

from clouddrive.drive import Drive
from clouddrive.gateway import CannotScreen, GatewayStatus
from clouddrive.limits import RESCAN_AT_ONCE, RETRY_AFTER_S_MAX

_LOG: Final = logging.getLogger("clouddrive")


class Watch:
    """One loop beside the web server. `status` is None while the gateway does not answer."""

    def __init__(self, drive: Drive, interval_s: float = 1.0) -> None:
        self._drive = drive
        self._interval_s = interval_s
        self.status: GatewayStatus | None = None
        self.last_status: GatewayStatus | None = None
        self.rescanned_ms: int | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            pause_s = self._interval_s
            try:
                if await self.tick():
                    pause_s = 0.0
            except CannotScreen as exc:
                if self.status is not None:
                    _LOG.warning("the gateway cannot screen now: %s; uploads wait", exc.code)
                self.status = None
                pause_s = max(pause_s, min(exc.retry_after_s, RETRY_AFTER_S_MAX))
            except OSError:
                _LOG.exception("the disk failed; the next round tries again")
            await asyncio.sleep(pause_s)

    async def tick(self) -> bool:
        """One look at the gateway and a share of the work it makes necessary; True for more to do.

        Raises: CannotScreen.
        """
        status = await self._drive.gateway.fetch_status()
        self.status = self.last_status = status
        self._drive.version = status.version
        await self._drive.retry_waiting()
        files = self._drive.store.stale_files(status.version, RESCAN_AT_ONCE)
        looks = [self._drive.rescan_one(file, status.version) for file in files]
        for answer in await asyncio.gather(*looks, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer
        if files:
            self.rescanned_ms = self._drive.clock()
        return bool(files)
