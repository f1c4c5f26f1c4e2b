"""The drive's pages and forms over HTTP. Pages are rendered here; scripts only refresh them."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.datastructures import UploadFile
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from clouddrive import views, wording
from clouddrive.drive import DOWNLOAD, Drive, clean_name
from clouddrive.gateway import Gateway
from clouddrive.guard import Guard
from clouddrive.limits import APPEAL_CHARS_MAX, FORM_FILES_MAX, UPLOAD_BYTES_MAX
from clouddrive.store import State, Store
from clouddrive.vault import Vault, is_file_id
from clouddrive.watch import Watch

_HERE: Final = Path(__file__).parent
_TEMPLATES: Final = Jinja2Templates(
    env=Environment(
        loader=PackageLoader("clouddrive"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
)
# A stored file is shown as a picture or saved; it never runs anything.
_FILE_POLICY: Final = "default-src 'none'; sandbox"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a drive is started with."""

    data: Path
    gateway: str
    token: str | None = None
    jurisdictions: Sequence[views.Jurisdiction] = ()
    hosts: Sequence[str] = ("127.0.0.1", "localhost")
    watch_interval_s: float = 1.0


class Pages:
    """The routes of one drive."""

    def __init__(
        self, drive: Drive, watch: Watch, jurisdictions: Sequence[views.Jurisdiction]
    ) -> None:
        self._drive = drive
        self._watch = watch
        self._jurisdictions = tuple(jurisdictions)

    def router(self) -> APIRouter:
        router = APIRouter(default_response_class=Response)
        for method, path, handler in (
            ("GET", "/", self.home),
            ("GET", "/fragment", self.home_fragment),
            ("POST", "/upload", self.upload),
            ("GET", "/files/{file_id}", self.file),
            ("POST", "/files/{file_id}/delete", self.delete),
            ("GET", "/notice/{reference}", self.notice),
            ("POST", "/notice/{reference}/appeal", self.appeal),
            ("POST", "/notice/{reference}/dismiss", self.dismiss),
            ("GET", "/platform", self.platform),
            ("GET", "/platform/fragment", self.platform_fragment),
            ("GET", "/platform.json", self.platform_json),
            ("POST", "/platform/tasks/{task_id}/done", self.finish_task),
            ("GET", "/healthz", self.health),
        ):
            router.add_api_route(path, handler, methods=[method], include_in_schema=False)
        return router

    # The owner's side

    async def home(self, request: Request) -> Response:
        return self._home(request, [])

    def _home(self, request: Request, results: list[dict[str, object]]) -> Response:
        view = views.drive_view(self._drive, self._watch)
        return self._page(request, "drive.html", view=view, results=results)

    async def home_fragment(self, request: Request) -> Response:
        view = views.drive_view(self._drive, self._watch)
        return self._page(request, "drive_live.html", view=view)

    async def upload(self, request: Request) -> Response:
        results: list[dict[str, object]] = []
        async with request.form(max_files=FORM_FILES_MAX, max_fields=10) as form:
            jurisdiction = str(form.get("jurisdiction") or "")
            known = {place.code for place in self._jurisdictions}
            if jurisdiction not in known:
                jurisdiction = self._jurisdictions[0].code if self._jurisdictions else ""
            for part in form.getlist("file"):
                if isinstance(part, UploadFile) and part.filename:
                    results.append(await self._take(part, jurisdiction))
        if request.headers.get("accept", "").startswith("application/json"):
            if len(results) != 1:
                return JSONResponse({"heading": "Send one file at a time."}, 400)
            return JSONResponse(results[0], 413 if results[0]["state"] == "too_large" else 200)
        return self._home(request, results)

    async def _take(self, part: UploadFile, jurisdiction: str) -> dict[str, object]:
        name = clean_name(part.filename or "")
        if (part.size or 0) > UPLOAD_BYTES_MAX:
            return {
                "name": name,
                "state": "too_large",
                "reference": None,
                "heading": wording.REFUSED_HEADING,
                "lines": [wording.too_large(UPLOAD_BYTES_MAX)],
            }
        outcome = await self._drive.upload(part.file, name, jurisdiction)
        return views.outcome_json(self._drive, name, outcome)

    async def file(self, request: Request, file_id: str) -> Response:
        file = self._drive.store.file(file_id) if is_file_id(file_id) else None
        if file is None or file.state is not State.STORED:
            return self._not_found(request)
        tag = f'"{file.id}"'
        # A browser asks each time, so that a file that was taken away is gone at once.
        headers = {
            "Content-Security-Policy": _FILE_POLICY,
            "Cache-Control": "private, no-cache",
            "ETag": tag,
        }
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        kind = "attachment" if file.media_type == DOWNLOAD else "inline"
        headers["Content-Disposition"] = f"{kind}; filename*=UTF-8''{quote(file.name, safe='')}"
        path = self._drive.vault.files / file.id
        return FileResponse(path, media_type=file.media_type, headers=headers)

    async def delete(self, request: Request, file_id: str) -> Response:
        if not is_file_id(file_id) or not await self._drive.delete(file_id):
            return self._not_found(request)
        return RedirectResponse("/", 303)

    async def notice(self, request: Request, reference: str) -> Response:
        view = views.notice_view(self._drive, reference)
        if view is None:
            return self._not_found(request)
        return self._page(request, "notice.html", view=view, chars_max=APPEAL_CHARS_MAX)

    async def appeal(self, request: Request, reference: str) -> Response:
        async with request.form(max_files=0, max_fields=4) as form:
            message = str(form.get("message") or "").strip()[:APPEAL_CHARS_MAX]
        if views.notice_view(self._drive, reference) is None:
            return self._not_found(request)
        if message:
            self._drive.store.add_appeal(reference, message, self._drive.clock())
        return RedirectResponse(f"/notice/{reference}#appeal", 303)

    async def dismiss(self, reference: str) -> Response:
        self._drive.store.dismiss(reference)
        return RedirectResponse("/", 303)

    # The platform's staff

    async def platform(self, request: Request) -> Response:
        view = views.platform_view(self._drive, self._watch)
        return self._page(request, "platform.html", view=view)

    async def platform_fragment(self, request: Request) -> Response:
        view = views.platform_view(self._drive, self._watch)
        return self._page(request, "platform_live.html", view=view)

    async def platform_json(self) -> Response:
        return JSONResponse(dataclasses.asdict(views.platform_view(self._drive, self._watch)))

    async def finish_task(self, task_id: int) -> Response:
        self._drive.store.finish_task(task_id, self._drive.clock())
        return RedirectResponse("/platform#tasks", 303)

    async def health(self) -> Response:
        return JSONResponse({"screening": self._watch.status is not None})

    def _not_found(self, request: Request) -> Response:
        return self._page(request, "missing.html", status_code=404)

    def _page(
        self, request: Request, name: str, *, status_code: int = 200, **context: object
    ) -> Response:
        context["jurisdictions"] = self._jurisdictions
        context["path"] = request.url.path
        return _TEMPLATES.TemplateResponse(request, name, context, status_code=status_code)


def build_app(settings: Settings) -> FastAPI:
    """One drive as an ASGI app; its files, database and loop live from start-up to shutdown."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = Store(settings.data / "drive.sqlite3")
        gateway = Gateway(settings.gateway, settings.token)
        drive = Drive(store, Vault(settings.data), gateway)
        drive.recover()
        watch = Watch(drive, settings.watch_interval_s)
        app.include_router(Pages(drive, watch, settings.jurisdictions).router())
        loop = asyncio.create_task(watch.run())
        try:
            yield
        finally:
            loop.cancel()
            with suppress(asyncio.CancelledError):
                await loop
            await gateway.close()
            store.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    app.add_middleware(Guard)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts))
    return app
