"""An installed fingerprinter for PhotoDNA, by the name a member's settings give it.

    name = "library"                       # this one, or an entry point of `accord.fingerprinters`

    [settings]                             # what it is called with, each a text
    path = "/opt/fingerprinter/lib.so"
    symbol = "compute"

Accord ships none: PhotoDNA is licensed by its owner, and whoever names a fingerprinter has that
licence. What is installed and not named is not even looked for.
Not here: what it is shown (`fingerprint.second`); it is loaded in workers alone, before the lock.
Source: docs/spec/fingerprint.md, section 16.
"""

import ctypes
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, cast

from accord.fingerprint.second import Fingerprinter
from accord.fingerprint.types import PHOTODNA_BYTES
from accord.wire.errors import Malformed
from accord.wire.ids import NAME_RE
from accord.wire.limits import FINGERPRINTER_SETTING_CHARS_MAX, FINGERPRINTER_SETTINGS_MAX

SETTINGS_FILE: Final = "fingerprinter.toml"  # In a member's home.
GROUP: Final = "accord.fingerprinters"
LIBRARY: Final = "library"
_FILE_BYTES_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class Named:
    """Which fingerprinter to use, and what its factory is called with."""

    name: str
    settings: tuple[tuple[str, str], ...] = ()

    def as_argument(self) -> str:
        """One argument of a process. Others on the machine may see it: no place for a secret."""
        return json.dumps([self.name, dict(self.settings)], separators=(",", ":"))


def named_in(home: Path) -> Named | None:
    """What a home's settings name; None, without the file. Raises: Malformed."""
    path = home / SETTINGS_FILE
    return load_named(path) if path.exists() else None


def load_named(path: Path) -> Named:
    """Raises: Malformed `fingerprinter.settings`."""
    try:
        raw = path.read_bytes()
        table = tomllib.loads(raw.decode()) if len(raw) <= _FILE_BYTES_MAX else {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as err:
        raise Malformed("fingerprinter.settings", why=str(err)) from err
    return _named(table)


def parse_argument(text: str) -> Named:
    """Undoes `Named.as_argument`. Raises: Malformed `fingerprinter.settings`."""
    try:
        name, settings = json.loads(text)
    except (ValueError, TypeError) as err:
        raise Malformed("fingerprinter.settings") from err
    return _named({"name": name, "settings": settings})


def _named(table: dict[str, Any]) -> Named:
    name, settings = table.get("name"), table.get("settings", {})
    if not table.keys() <= {"name", "settings"}:
        raise Malformed("fingerprinter.settings", known="name, settings")
    if not isinstance(name, str) or NAME_RE.fullmatch(name) is None:
        raise Malformed("fingerprinter.settings", field="name")
    if not isinstance(settings, dict) or len(settings) > FINGERPRINTER_SETTINGS_MAX:
        raise Malformed("fingerprinter.settings", field="settings")
    items = sorted(cast(dict[str, object], settings).items())
    for key, value in items:
        is_text = isinstance(value, str) and len(value) <= FINGERPRINTER_SETTING_CHARS_MAX
        if not key.isidentifier() or not is_text:
            raise Malformed("fingerprinter.settings", field=key[:40], wanted="a text")
    return Named(name, tuple((key, str(value)) for key, value in items))


def load(named: Named) -> Fingerprinter:
    """The fingerprinter itself: a stranger's code runs here. Raises: whatever that raises, too."""
    factory: Callable[..., Fingerprinter] = open_library
    if named.name != LIBRARY:
        (found,) = entry_points(group=GROUP, name=named.name)  # ValueError: none, or several.
        factory = found.load()
    return factory(**dict(named.settings))


def open_library(path: str, symbol: str) -> Fingerprinter:
    """A function of a shared library, such as a licensed one behind a few lines of C:

        int symbol(const uint8_t *rgb, int32_t width, int32_t height, uint8_t out[144]);

    0 says that `out` was written, anything else that this picture has no value.
    Raises: OSError, AttributeError.
    """
    function = ctypes.CDLL(path)[symbol]
    function.restype = ctypes.c_int
    function.argtypes = (ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p)

    def fingerprinter(pixels: bytes, width: int, height: int, /) -> bytes | None:
        out = ctypes.create_string_buffer(PHOTODNA_BYTES)
        return out.raw if function(pixels, width, height, out) == 0 else None

    return fingerprinter
