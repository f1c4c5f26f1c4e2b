"""What a PDF shows: its pictures, its pages drawn where they show more, and files attached.

PDFium does the reading: its parser and rasterizer are a browser's, and need no file and no system
call here, since it is given no directory of fonts. Pictures coded as JPEG or JPEG 2000 are given
out as the files they are, others as PDFium decodes them.
Not here: what a picture comes to (`decode`), attached archives (`containers`), what can be told
without PDFium (`pdf_measure`).
Invariants: what is not looked at is a code; nothing of a page is kept when the next is read.
Source: docs/spec/fingerprint.md, section 15.
"""

import ctypes
import hashlib
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, TypeAlias

from PIL import Image

from accord.fingerprint.allowance import Allowance, Found, Nothing, Part
from accord.fingerprint.pdf_measure import Box, coded_size, pieces_together, unpacks_beyond
from accord.fingerprint.types import UnhashableCode
from accord.wire.limits import (
    DECODER_MEMORY_BYTES,
    IMAGE_PIXELS_MAX,
    IMAGE_SIDE_MAX,
    PDF_DRAWN_MAX,
    PDF_DRAWN_PIXELS_MAX,
    PDF_MEMORY_BYTES,
    PDF_OBJECTS_MAX,
    PDF_PAGES_MAX,
    PDF_PATHS_PLAIN_MAX,
    PDF_UNPACKED_MAX,
)

Handle: TypeAlias = object  # What PDFium calls a document, a page or a thing on one.

_PATH, _IMAGE, _SHADING, _FORM = 2, 3, 4, 5  # FPDF_PAGEOBJ_*
_LINK: Final = 2  # FPDF_ANNOT_LINK: draws nothing but a frame.
_PASSWORD, _SECURITY = 4, 5  # FPDF_ERR_*
_WITH_ANNOTATIONS: Final = 0x01  # FPDF_ANNOT
_SMALL_CACHE: Final = 0x200  # FPDF_RENDER_LIMITEDIMAGECACHE
_GREY, _BGR, _BGRX, _BGRA = 1, 2, 3, 4  # FPDFBitmap_*
_LAYOUTS: Final = {
    _GREY: ("L", "L"),
    _BGR: ("RGB", "BGR"),
    _BGRX: ("RGB", "BGRX"),
    _BGRA: ("RGBA", "BGRA"),
}
_WHITE: Final = 0xFFFF_FFFF
_DRAWN_SIDE: Final = 1024
_SIDE_POINTS_MAX: Final = 100_000.0
_FINE: Final = 16  # Parts of a point.
_BOXES_MAX: Final = 256
_FORMS_DEPTH_MAX: Final = 16  # Forms in one another; PDFium itself stops a little later.
_ENCRYPTED: Final = UnhashableCode.ARCHIVE_ENCRYPTED
_CODED: Final = (b"DCTDecode", b"DCT", b"JPXDecode")
_FILTER_BYTES: Final = 32
_FLAT: Final = frozenset({UnhashableCode.TOO_FLAT})
_FLAT_OR_FULL: Final = _FLAT | {UnhashableCode.ARCHIVE_TOO_LARGE}


@dataclass(slots=True)
class _Page:
    """What one page is made of. `boxes`: where its images lie, those of one form as one."""

    images: list[Handle] = field(default_factory=list[Handle])
    boxes: list[Box] = field(default_factory=list[Box])
    pixels: int = 0
    paths: int = 0
    has_more: bool = False  # Shadings, annotations: pictures that no image object stands for.
    is_whole: bool = True  # Whether all of its objects were gone over.

    @property
    def needs_drawing(self) -> bool:
        """Whether it may show a picture that none of its images is, such as one cut into strips."""
        return len(self.images) > 1 or self.has_more or self.paths > PDF_PATHS_PLAIN_MAX


@cache
def _pdfium() -> Any:  # noqa: ANN401  (a module without types)
    """PDFium, begun without fonts but its own; None where there is no build for this system."""
    try:
        import pypdfium2_raw as raw  # noqa: PLC0415  (only a worker needs its half a second)
    except ImportError:
        return None
    # Or it would look for fonts in the system's directories, when no file can be opened any more.
    nowhere = (ctypes.POINTER(ctypes.c_char) * 1)()
    config = raw.FPDF_LIBRARY_CONFIG(2, nowhere, None, 0, None, 0)
    raw.FPDF_InitLibraryWithConfig(config)
    _kept.append((nowhere, config))
    return raw


_kept: Final[list[object]] = []  # What PDFium goes on pointing at.
_taken: Final[list[mmap.mmap]] = []


def pdf_parts(data: bytes, left: Allowance) -> Iterator[Part]:
    """Page by page, then what is attached, then pages that need not have been drawn."""
    pdfium = _pdfium()
    if pdfium is None:
        yield Part(UnhashableCode.ARCHIVE_NOT_READABLE)
        return
    if unpacks_beyond(data, PDF_UNPACKED_MAX):
        yield Part(UnhashableCode.ARCHIVE_TOO_LARGE)
        return
    with _less_memory():
        document = pdfium.FPDF_LoadMemDocument64(data, len(data), None)
        if not document:
            is_locked = pdfium.FPDF_GetLastError() in (_PASSWORD, _SECURITY)
            yield Part(_ENCRYPTED if is_locked else UnhashableCode.ARCHIVE_NOT_READABLE)
            return
        try:
            yield from _Document(pdfium, document, left).parts()
        finally:
            pdfium.FPDF_CloseDocument(document)


@contextmanager
def _less_memory() -> Iterator[None]:
    """Takes address space away from what runs within: PDFium unpacks all that a page is made of
    before anything can be asked, and where it gets no more it ends the process.
    """
    if _taken:  # For a PDF that this one is attached to.
        yield
        return
    size = DECODER_MEMORY_BYTES - PDF_MEMORY_BYTES
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ) as space:
        _taken.append(space)
        try:
            yield
        finally:
            _taken.clear()


@dataclass(slots=True)
class _Document:
    """One opened document, and what may still be done for it."""

    pdfium: Any
    handle: Handle
    left: Allowance
    objects: int = PDF_OBJECTS_MAX
    drawn: int = PDF_DRAWN_MAX
    drawn_pixels: int = PDF_DRAWN_PIXELS_MAX
    seen: set[bytes] = field(default_factory=set[bytes])

    def parts(self) -> Iterator[Part]:
        count = self.pdfium.FPDF_GetPageCount(self.handle)
        later: list[int] = []
        for index in range(min(count, PDF_PAGES_MAX)):
            with self._page(index) as page:
                if not page:
                    yield self._part(UnhashableCode.ARCHIVE_NOT_READABLE)
                    continue
                about = self._looked_over(page)
                if about.needs_drawing:
                    yield self._part(self._drawn(page, about), _FLAT)
                    for box in pieces_together(about.boxes):
                        yield self._part(self._drawn(page, about, box), _FLAT)
                elif len(later) < PDF_DRAWN_MAX:
                    later.append(index)
                yield from self._pictures(about)
        if count > PDF_PAGES_MAX:
            yield self._part(UnhashableCode.ARCHIVE_TOO_LARGE)
        yield from self._attached()
        for index in later:
            with self._page(index) as page:
                drawn = self._drawn(page, self._looked_over(page))
                if isinstance(drawn, Image.Image):
                    yield self._part(drawn, _FLAT_OR_FULL)

    def _part(self, found: Found, excused: Nothing = frozenset()) -> Part:
        self.left.count()
        return Part(found, excused)

    @contextmanager
    def _page(self, index: int) -> Iterator[Handle]:
        page = self.pdfium.FPDF_LoadPage(self.handle, index)
        try:
            yield page
        finally:
            if page:
                self.pdfium.FPDF_ClosePage(page)

    def _looked_over(self, page: Handle) -> _Page:
        count, thing = self.pdfium.FPDFPage_CountObjects, self.pdfium.FPDFPage_GetObject
        about = _Page(has_more=self._has_drawn_annotations(page))
        for item in (thing(page, index) for index in range(count(page))):
            before = len(about.images)
            self._go_over(iter((item,)), about, 0)
            if len(about.images) > before and len(about.boxes) < _BOXES_MAX:
                about.boxes.append(self._box_of(page, item))
        return about

    def _box_of(self, page: Handle, item: Handle) -> Box:
        """Where a thing lies on the page as it is shown, upright."""
        sides = [ctypes.c_float() for _ in range(4)]
        self.pdfium.FPDFPageObj_GetBounds(item, *sides)
        left, low, right, high = (side.value for side in sides)
        ends = [self._shown_at(page, x, y) for x, y in ((left, low), (right, high))]
        (x0, x1), (y0, y1) = (sorted(along) for along in zip(*ends, strict=True))
        return x0, y0, x1, y1

    def _shown_at(self, page: Handle, x: float, y: float) -> tuple[float, float]:
        """In points from the shown page's upper left, whatever its rotation and its origin."""
        width, height = self._size_of_page(page)
        across, down = ctypes.c_int(), ctypes.c_int()
        size = (round(width * _FINE), round(height * _FINE))
        self.pdfium.FPDF_PageToDevice(page, 0, 0, *size, 0, x, y, across, down)
        return across.value / _FINE, down.value / _FINE

    def _size_of_page(self, page: Handle) -> tuple[float, float]:
        """Of the shown page, in points; no larger than a viewer would have it."""
        width = self.pdfium.FPDF_GetPageWidthF(page)
        height = self.pdfium.FPDF_GetPageHeightF(page)
        return min(width, _SIDE_POINTS_MAX), min(height, _SIDE_POINTS_MAX)

    def _has_drawn_annotations(self, page: Handle) -> bool:
        for index in range(min(self.pdfium.FPDFPage_GetAnnotCount(page), PDF_OBJECTS_MAX)):
            annotation = self.pdfium.FPDFPage_GetAnnot(page, index)
            if annotation:
                kind = self.pdfium.FPDFAnnot_GetSubtype(annotation)
                self.pdfium.FPDFPage_CloseAnnot(annotation)
                if kind != _LINK:
                    return True
        return False

    def _go_over(self, things: Iterator[Handle], about: _Page, depth: int) -> None:
        count, thing = self.pdfium.FPDFFormObj_CountObjects, self.pdfium.FPDFFormObj_GetObject
        for item in things:
            self.objects -= 1
            if self.objects < 0 or depth > _FORMS_DEPTH_MAX:
                about.is_whole = False
                return
            kind = self.pdfium.FPDFPageObj_GetType(item)
            if kind == _IMAGE:
                width, height = self._size_of(item)
                about.images.append(item)
                about.pixels += width * height
            elif kind == _PATH:
                about.paths += 1
            elif kind == _SHADING:
                about.has_more = True
            elif kind == _FORM:
                inside = (thing(item, index) for index in range(count(item)))
                self._go_over(inside, about, depth + 1)

    def _size_of(self, item: Handle) -> tuple[int, int]:
        """What the document says, or what a coded picture itself says, where that is more."""
        width, height = ctypes.c_uint(), ctypes.c_uint()
        self.pdfium.FPDFImageObj_GetImagePixelSize(item, width, height)
        coded = coded_size(self._file_of(item) or b"")
        return max(width.value, coded[0]), max(height.value, coded[1])

    def _pictures(self, about: _Page) -> Iterator[Part]:
        """The images of a page that no earlier page had."""
        for item in about.images:
            width, height = self._size_of(item)
            raw = _read(self.pdfium.FPDFImageObj_GetImageDataRaw, item)
            mark = hashlib.sha256(b"%d %d " % (width, height) + raw).digest()
            if mark in self.seen:
                continue
            self.seen.add(mark)
            found: Found = UnhashableCode.TOO_LARGE
            if max(width, height) <= IMAGE_SIDE_MAX and width * height <= IMAGE_PIXELS_MAX:
                file = self._file_of(item)
                self.left.spend(len(file or b""))
                found = file or self._bitmap_of(item) or UnhashableCode.NOT_DECODABLE
            yield self._part(found, _FLAT)
        if not about.is_whole:
            yield self._part(UnhashableCode.ARCHIVE_TOO_LARGE)

    def _file_of(self, item: Handle) -> bytes | None:
        """The file that an image is, where it is one."""
        filters = self.pdfium.FPDFImageObj_GetImageFilterCount(item)
        if filters < 1:
            return None
        name = ctypes.create_string_buffer(_FILTER_BYTES)
        self.pdfium.FPDFImageObj_GetImageFilter(item, filters - 1, name, _FILTER_BYTES)
        if name.value not in _CODED:
            return None
        return _read(self.pdfium.FPDFImageObj_GetImageDataDecoded, item)

    def _bitmap_of(self, item: Handle) -> Image.Image | None:
        bitmap = self.pdfium.FPDFImageObj_GetBitmap(item)
        if not bitmap:
            return None
        try:
            return self._image_of(bitmap)
        finally:
            self.pdfium.FPDFBitmap_Destroy(bitmap)

    def _attached(self) -> Iterator[Part]:
        for index in range(self.pdfium.FPDFDoc_GetAttachmentCount(self.handle)):
            attachment = self.pdfium.FPDFDoc_GetAttachment(self.handle, index)
            size = ctypes.c_ulong()
            read = self.pdfium.FPDFAttachment_GetFile
            if not attachment or not read(attachment, None, 0, size):
                yield self._part(UnhashableCode.ARCHIVE_NOT_READABLE)
                continue
            self.left.spend(size.value)
            buffer = ctypes.create_string_buffer(size.value)
            read(attachment, buffer, size, size)
            if len(buffer):
                yield self._part(buffer.raw)

    def _drawn(self, page: Handle, about: _Page, box: Box | None = None) -> Found:
        """A page, or a part of it, as a viewer shows it on white, 1,024 on the longest side."""
        cost = about.pixels + _DRAWN_SIDE * _DRAWN_SIDE
        width, height = self._size_of_page(page)
        left, top, right, bottom = box or (0, 0, width, height)
        longest = max(right - left, bottom - top)
        if self.drawn < 1 or cost > self.drawn_pixels or not longest > 0:
            return UnhashableCode.ARCHIVE_TOO_LARGE
        self.drawn -= 1
        self.drawn_pixels -= cost
        zoom = min(_DRAWN_SIDE / longest, IMAGE_SIDE_MAX / max(width, height))
        across, down = (max(1, round(side * zoom)) for side in (right - left, bottom - top))
        place = (-round(left * zoom), -round(top * zoom), round(width * zoom), round(height * zoom))
        bitmap = self.pdfium.FPDFBitmap_CreateEx(across, down, _BGRX, None, 0)
        if not bitmap:
            return UnhashableCode.TOO_LARGE
        try:
            self.pdfium.FPDFBitmap_FillRect(bitmap, 0, 0, across, down, _WHITE)
            flags = _WITH_ANNOTATIONS | _SMALL_CACHE
            self.pdfium.FPDF_RenderPageBitmap(bitmap, page, *place, 0, flags)
            return self._image_of(bitmap) or UnhashableCode.NOT_DECODABLE
        finally:
            self.pdfium.FPDFBitmap_Destroy(bitmap)

    def _image_of(self, bitmap: Handle) -> Image.Image | None:
        layout = _LAYOUTS.get(self.pdfium.FPDFBitmap_GetFormat(bitmap))
        width = self.pdfium.FPDFBitmap_GetWidth(bitmap)
        height = self.pdfium.FPDFBitmap_GetHeight(bitmap)
        stride = self.pdfium.FPDFBitmap_GetStride(bitmap)
        at = self.pdfium.FPDFBitmap_GetBuffer(bitmap)
        if layout is None or not at or min(width, height) < 1:
            return None
        pixels = (ctypes.c_ubyte * (stride * height)).from_address(at)
        mode, raw = layout
        return Image.frombytes(mode, (width, height), pixels, "raw", raw, stride, 1)


def _read(read: Callable[..., int], item: Handle) -> bytes:
    """What a function of PDFium's puts into a buffer that is as long as it says."""
    buffer = ctypes.create_string_buffer(read(item, None, 0))
    read(item, buffer, len(buffer))
    return buffer.raw
