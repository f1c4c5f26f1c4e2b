"""Applications travel as one exact JSON form and hold no secret."""

import json

import pytest

from accord.agency.application import (
    APPLICATION_BYTES_MAX,
    encode_application,
    parse_application,
)
from accord.agency.founding import (
    AGENCY_STAFF,
    PLATFORM_STAFF,
    agency_application,
    platform_application,
)
from accord.wire.errors import Malformed
from accord.wire.ids import JurisdictionId, MemberId
from consortium_kit import CHAIN, FOUR, keys_for

KEYS = keys_for("cloud", PLATFORM_STAFF)
CLOUD = platform_application(CHAIN, MemberId("cloud"), "Cloud", [JurisdictionId("NL")], KEYS)
AGENCY = agency_application(CHAIN, FOUR[0], keys_for(FOUR[0].member, AGENCY_STAFF))


def test_what_is_encoded_parses_to_the_same() -> None:
    for action in (CLOUD, AGENCY):
        assert parse_application(encode_application(action)) == action


def test_no_private_key_is_in_it() -> None:
    raw = encode_application(CLOUD).decode()
    assert not any(key.seed.hex()[:32] in raw for key in KEYS)


def test_whatever_differs_is_refused() -> None:
    raw = encode_application(CLOUD)
    value = json.loads(raw)
    removal = {"kind": "remove-platform", "platform": "cloud"}
    for wrong in (
        b"",
        b"[1]",
        raw[:-1],
        raw + b"\n",
        b"[" * 100_000,
        b" " * (APPLICATION_BYTES_MAX + 1),
        json.dumps(removal).encode(),
        json.dumps({**value, "title": 1.5}).encode(),
        json.dumps({**value, "title": "hex:zz"}).encode(),
        json.dumps(value).encode(),
    ):
        with pytest.raises(Malformed):
            parse_application(wrong)
