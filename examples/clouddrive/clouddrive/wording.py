"""What the drive says to people: plain, humane, and never more than the uploader may know.

Nothing here takes an agency, a listing or a fingerprint: an explanation cannot reveal them.
"""

from typing import Final

from clouddrive.store import State

_REASONS: Final = {
    "image.empty": "the file is empty",
    "image.unknown_format": "it is not a kind of picture we can read",
    "image.too_large": "the picture is too large",
    "image.truncated": "the file ends too early, as after an interrupted copy",
    "image.not_decodable": "the file is damaged and does not open as a picture",
    "image.too_flat": "the picture has too little detail, such as one plain colour",
    "image.timeout": "reading the picture took too long",
    "image.crashed": "the picture could not be read safely",
    "archive.encrypted": "it holds a file that is locked with a password",
    "archive.no_pictures": "there is no picture in it",
    "archive.not_readable": "it is a kind of archive or document that we cannot open",
    "archive.too_large": "it holds more than we can open at once",
}

HELD_HEADING: Final = "Held for review"
REFUSED_HEADING: Final = "This file was not added"
REMOVED_HEADING: Final = "A file was taken out of your drive"
STORED_HEADING: Final = "This file is in your drive"
GONE_HEADING: Final = "This file is no longer here"

_REFUSED: Final = (
    "An automatic check compared it with a list that we are required to use,"
    " and the rule for that list tells us not to take it.",
    "This is not a judgement about you. Automatic checks can be wrong: if you ask, a person"
    " reviews it.",
)
_HELD: Final = (
    "An automatic check asks for a person to look before this file can be shown."
    " Until then nobody sees it in the drive.",
    "You do not have to do anything. If you think this is a mistake, tell us.",
)
_REMOVED: Final = (
    "The list we are required to use has changed, and stored files were checked again."
    " Under the rule for that list this file cannot be shown any more.",
    "This is not a judgement about you. Automatic checks can be wrong: if you ask, a person"
    " reviews it.",
)


def in_words(code: str | None) -> str:
    """Why a file could not be looked at, as the end of a sentence."""
    return _REASONS.get(code or "", "it could not be read")


def could_not_check(code: str | None) -> str:
    return f"We could not check this file: {in_words(code)}."


def waiting_text() -> str:
    return (
        "Safely received, but not checked yet: the checking service does not answer."
        " It stays hidden and is checked by itself as soon as the service is back."
    )


def explain(state: State, decision: str, code: str | None) -> tuple[str, tuple[str, ...]]:
    """Heading and sentences for the uploader about one file."""
    unseen = (could_not_check(code),) if decision == "undetermined" else ()
    match state:
        case State.REFUSED if unseen:
            after = "Where we cannot check, we do not take a file. Another copy of it may work."
            return REFUSED_HEADING, (*unseen, after)
        case State.REFUSED:
            return REFUSED_HEADING, _REFUSED
        case State.HELD:
            return HELD_HEADING, (*unseen, *_HELD[bool(unseen) :])
        case State.QUARANTINED:
            return REMOVED_HEADING, (*unseen, *_REMOVED)
        case State.STORED:
            return STORED_HEADING, unseen or ("You can open it in your drive as always.",)
        case _:
            return GONE_HEADING, ("It was deleted from the drive.",)


def not_accepted(code: str | None) -> str:
    """An upload the checking service would not take at all."""
    return f"{could_not_check(code)} What cannot be checked is not added."


def too_large(limit_bytes: int) -> str:
    return f"This is larger than {limit_bytes // 1_000_000} MB, the most the drive takes per file."


def size_text(size_bytes: int) -> str:
    if size_bytes < 1_000:
        return f"{size_bytes} bytes"
    if size_bytes < 1_000_000:
        return f"{size_bytes / 1_000:.0f} kB"
    return f"{size_bytes / 1_000_000:.1f} MB"


def age_text(age_ms: int) -> str:
    """How long something took or ago, coarsely."""
    seconds = max(0, age_ms // 1_000)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"
