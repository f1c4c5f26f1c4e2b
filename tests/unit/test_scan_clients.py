"""Clients of a gateway: admitted once, within terms, by every process and after every restart."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from accord.client.home import PrivateKey
from accord.client.signing import FieldLines, SignedMessage, signed_headers
from accord.client.verifying import Proven, verify_request
from accord.scan.clients import DAY_MS, Client, Clients, Terms, Used
from accord.statements.bodies import Role
from accord.statements.rules import Service
from accord.wire.errors import AccordError, Malformed, Unavailable, Unproven
from accord.wire.ids import JurisdictionId, KeyId, MemberId, TimeMs
from accord.wire.limits import LOOKUP_PROBES_MS
from consortium_kit import derived_key

NOON = TimeMs(20_000 * DAY_MS + DAY_MS // 2)
TERMS = Terms((JurisdictionId("NL"),), (Service.HOSTING,), per_minute=6, per_day=10, probes_max=3)
KEY = derived_key("small", Role.SCANNER, "scanner")
URL = "http://gateway/v1/screen"


def client(name: str = "small", key: PrivateKey = KEY, terms: Terms = TERMS) -> Client:
    return Client(MemberId(name), key.public, terms, NOON, TimeMs(NOON + 30 * DAY_MS))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clients.sqlite"


@pytest.fixture
def clients(path: Path) -> Iterator[Clients]:
    opened = Clients(path)
    opened.add(client())
    yield opened
    opened.close()


def proven(number: int, at_ms: int = NOON, key: PrivateKey = KEY) -> Proven:
    return Proven(key.key_id, f"n{number}", at_ms // 1000, at_ms // 1000 + 60, None)


def code(admitting: object, *words: object) -> str:
    with pytest.raises(AccordError) as refused:
        admitting(*words)  # type: ignore[operator]  # A method.
    return refused.value.code


def used(clients: Clients) -> Used:
    (row,) = clients.usage()
    return row


def test_a_minute_fills_evenly_and_says_when_to_come_again(clients: Clients) -> None:
    for number in range(6):
        assert clients.admit(proven(number), NOON).name == "small"
    with pytest.raises(Unavailable) as refused:
        clients.admit(proven(6), NOON)
    assert (refused.value.code, refused.value.detail["retry_after_s"]) == ("clients.rate", 10)
    assert code(clients.admit, proven(7), TimeMs(NOON + 9_000)) == "clients.rate"
    clients.admit(proven(8), TimeMs(NOON + 10_000))
    assert code(clients.admit, proven(9), TimeMs(NOON + 5_000)) == "clients.rate"  # Set back.
    assert used(clients) == Used(MemberId("small"), 20_000, 7, 7, 0, 0, 3)


def test_processes_whose_clocks_differ_fill_no_time_in_twice(clients: Clients) -> None:
    for number in range(6):
        clients.admit(proven(number), NOON)
    ahead, behind = TimeMs(NOON + 10_000), NOON
    clients.admit(proven(6), ahead)
    assert code(clients.admit, proven(7), behind) == "clients.rate"
    assert code(clients.admit, proven(8), ahead) == "clients.rate"


def test_a_day_has_its_quota_also_after_a_restart(clients: Clients, path: Path) -> None:
    now = NOON
    for number in range(10):
        now = TimeMs(NOON + number * 10_000)
        clients.admit(proven(number, now), now)
    clients.close()
    again = Clients(path)
    late = TimeMs(now + 60_000)
    with pytest.raises(Unavailable) as refused:
        again.admit(proven(10, late), late)
    assert refused.value.code == "clients.quota"
    left_s = (DAY_MS - late % DAY_MS) // 1000
    assert refused.value.detail["retry_after_s"] == left_s
    tomorrow = TimeMs(late + left_s * 1000)
    again.admit(proven(11, tomorrow), tomorrow)
    again.close()


def test_every_fingerprint_of_a_request_counts(clients: Clients) -> None:
    one = clients.admit(proven(0), NOON)
    clients.charge(one, 8, NOON, is_due=False)
    assert code(lambda: clients.charge(one, 2, NOON, is_due=False)) == "clients.quota"
    assert used(clients).fingerprints == 9
    clients.charge(one, 20, NOON, is_due=True)  # A file that was looked at: counted all the same.
    assert used(clients).fingerprints == 29
    assert code(clients.admit, proven(1), NOON) == "clients.quota"
    clients.charge(one, 0, NOON, is_due=False)


def test_a_nonce_counts_once_in_every_process_and_after_a_restart(
    clients: Clients, path: Path
) -> None:
    clients.admit(proven(0), NOON)
    assert code(clients.admit, proven(0), NOON) == "http.replayed"
    beside = Clients(path)
    assert code(beside.admit, proven(0), NOON) == "http.replayed"
    beside.close()
    clients.close()
    again = Clients(path)
    assert code(again.admit, proven(0), NOON) == "http.replayed"
    late = TimeMs(NOON + 91_000)  # Nobody keeps what is refused for its age anyway.
    assert code(again.admit, proven(0), late) == "http.signature_time"
    other = derived_key("other", Role.SCANNER, "scanner")
    again.add(client("other", other))
    again.admit(proven(0, key=other), NOON)
    again.close()


def test_of_many_at_once_no_more_get_in_than_agreed(clients: Clients, path: Path) -> None:
    """Twenty threads over two processes' files: one nonce twice each, six of them in a minute."""
    beside, gate = Clients(path), threading.Barrier(20)
    came_to: list[str] = []

    def reach(number: int) -> None:
        gate.wait()
        try:
            (clients, beside)[number % 2].admit(proven(number // 2), NOON)
            came_to.append("in")
        except AccordError as err:
            came_to.append(err.code)

    threads = [threading.Thread(target=reach, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    beside.close()
    assert Counter(came_to) == {"in": 6, "clients.rate": 4, "http.replayed": 10}
    assert (used(clients).lookups, used(clients).refused) == (6, 4)


def test_a_clock_may_differ_by_half_a_minute(clients: Clients) -> None:
    clients.admit(proven(0, NOON + 30_000), NOON)
    clients.admit(proven(1, NOON - 90_000), NOON)
    for number, at_ms in ((2, NOON + 31_000), (3, NOON - 91_000)):
        assert code(clients.admit, proven(number, at_ms), NOON) == "http.signature_time"
    assert used(clients).lookups == 2


def test_whoever_is_revoked_or_expired_is_out_at_once(clients: Clients, path: Path) -> None:
    beside = Clients(path)
    beside.revoke("small", TimeMs(NOON + 1))
    assert code(clients.admit, proven(0), NOON) == "clients.revoked"
    (known,) = clients.listed()
    assert known.revoked_ms == NOON + 1
    beside.revoke("small", TimeMs(NOON + 9))  # Again changes nothing.
    assert clients.listed() == [known]
    other = derived_key("other", Role.SCANNER, "scanner")
    beside.add(replace(client("other", other), expires_ms=NOON))
    assert code(clients.admit, proven(0, key=other), NOON) == "clients.expired"
    stranger = derived_key("third", Role.SCANNER, "scanner")
    assert code(clients.admit, proven(0, key=stranger), NOON) == "http.signature"
    beside.close()


def test_names_and_keys_are_used_once_for_ever(clients: Clients) -> None:
    other = derived_key("other", Role.SCANNER, "scanner")
    assert code(clients.add, client()) == "clients.exists"
    assert code(clients.add, client("small", other)) == "clients.exists"
    clients.revoke("small", NOON)
    assert code(clients.add, client("another")) == "clients.exists"
    assert code(clients.add, client("No Name", other)) == "clients.name"
    assert code(clients.add, replace(client("weak", other), public=bytes(32))) == "key.low_order"
    for unknown in (clients.release, lambda name: clients.revoke(name, NOON)):
        assert code(unknown, "nobody") == "clients.unknown"
    with pytest.raises(Malformed, match=r"clients\.terms"):
        replace(TERMS, per_day=0)
    with pytest.raises(Malformed, match=r"clients\.terms"):
        replace(TERMS, jurisdictions=())


def test_climbing_towards_one_listing_ends_before_a_person(clients: Clients) -> None:
    one = clients.admit(proven(0), NOON)

    def near(asked: int, *listings: str, at_ms: int = NOON) -> bool:
        return clients.note(
            one,
            TimeMs(at_ms),
            is_match=True,
            is_undetermined=False,
            near={listing: [b"%d" % asked] for listing in listings},
        )

    assert not any(near(number, f"{number}/0") for number in range(20))  # Many listings, each once.
    assert not any(near(7, "7/0") for _ in range(20))  # The same file again and again.
    assert not near(1, "9/9", at_ms=NOON - LOOKUP_PROBES_MS)  # Forgotten by now.
    assert not any(near(number, "9/9") for number in range(3))
    assert near(3, "9/9")
    assert code(clients.admit, proven(1), NOON) == "clients.held"
    clients.release("small")
    clients.admit(proven(2), NOON)
    assert not near(4, "9/9")
    (today,) = clients.usage(NOON // DAY_MS)
    assert today.matches == 45


def test_no_value_and_no_listing_is_in_the_file(clients: Clients, path: Path) -> None:
    one = clients.admit(proven(0), NOON)
    value = b"a fingerprint of 32 bytes' width"
    clients.note(one, NOON, is_match=True, is_undetermined=False, near={"12345/678": [value]})
    clients.close()
    raw = path.read_bytes()
    assert value not in raw
    assert b"12345/678" not in raw


def test_a_refused_disk_is_said_and_uses_nothing_up(clients: Clients, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(
        "CREATE TRIGGER full BEFORE INSERT ON usage BEGIN SELECT raise(ABORT, 'full'); END"
    )
    assert code(clients.admit, proven(0), NOON) == "clients.store"
    other.execute("DROP TRIGGER full")
    clients.admit(proven(0), NOON)  # Its nonce was not used up either.
    assert used(clients).lookups == 1
    other.close()


def test_a_signature_is_of_a_registered_key(clients: Clients) -> None:
    headers = signed_headers(KEY, "POST", URL, b"body", now_s=NOON // 1000)
    message = SignedMessage("POST", URL, FieldLines(list(headers.items())))
    seen = verify_request(message, clients.public_of)
    assert seen.check_body(b"body") == b"body"
    with pytest.raises(Unproven, match=r"http\.body_digest"):
        seen.check_body(b"other")
    stranger = derived_key("third", Role.SCANNER, "scanner")
    headers = signed_headers(stranger, "POST", URL, b"body", now_s=NOON // 1000)
    with pytest.raises(Unproven, match=r"http\.signature"):
        verify_request(
            SignedMessage("POST", URL, FieldLines(list(headers.items()))), clients.public_of
        )
    assert clients.public_of(KeyId(bytes(16))) is None
