"""What other agencies' joining engines may read of ours: three answers of its RPC, and no more.

The engine's RPC stays on its private socket; these go through the API, signed by an agency's key.
Source: docs/spec/http.md section 1, docs/spec/consensus.md section 9.
"""

from typing import Annotated, Any, Final, Protocol

from fastapi import FastAPI, Query, Request

from accord.ledger.state import Reader
from accord.node.auth import Gate
from accord.wire.errors import Unproven

Height = Annotated[int, Query(ge=1, lt=2**63)]
PAGE_MAX: Final = 100


class LightReads(Protocol):
    """The engine, as far as a light client needs it."""

    @property
    def state(self) -> Reader: ...

    async def snapshots(self) -> tuple[int, ...]:
        """The heights whose snapshots are offered, newest first."""
        ...

    async def read_engine(self, method: str, params: dict[str, str]) -> dict[str, Any]:
        """The engine's own answer, `result` or `error`. Raises: Unavailable."""
        ...


def add_light_reads(
    app: FastAPI, gate: Gate, reads: LightReads, responses: dict[int | str, dict[str, Any]]
) -> None:
    """Adds the routes. `responses` documents how members are refused."""

    def admit(request: Request) -> None:
        if not gate.admit(request, reads.state).caller.is_agency:
            raise Unproven("http.agencies_only")

    @app.get("/engine/snapshots", tags=["agencies"], responses=responses)
    async def snapshots(request: Request) -> dict[str, list[int]]:
        """The heights whose snapshots this node offers, newest first."""
        admit(request)
        return {"heights": list(await reads.snapshots())}

    @app.get("/engine/commit", tags=["agencies"], responses=responses)
    async def commit(request: Request, height: Height | None = None) -> dict[str, Any]:
        """A header and who signed it, as the engine's RPC has it; of the newest block, if no height
        is given.
        """
        admit(request)
        return await reads.read_engine("commit", {} if height is None else {"height": str(height)})

    @app.get("/engine/consensus_params", tags=["agencies"], responses=responses)
    async def consensus_params(request: Request, height: Height) -> dict[str, Any]:
        """The engine's parameters at a height, as its RPC has them."""
        admit(request)
        return await reads.read_engine("consensus_params", {"height": str(height)})

    @app.get("/engine/validators", tags=["agencies"], responses=responses)
    async def validators(
        request: Request,
        height: Height,
        page: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 1,
        per_page: Annotated[int, Query(ge=1, le=PAGE_MAX)] = PAGE_MAX,
    ) -> dict[str, Any]:
        """Who orders the block of a height, as the engine's RPC has it."""
        admit(request)
        ask = {"height": str(height), "page": str(page), "per_page": str(per_page)}
        return await reads.read_engine("validators", ask)
