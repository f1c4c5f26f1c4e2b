"""The key desk: a member's role keys, changed by statements that its root signs.

A keyset replaces all of a member's keys, so each statement is made from the ledger's own list: keys
that other machines hold stay as they are.
Invariants: a private key is on the disk before it is stated; one that is on the ledger is never
lost; a crash at any step is mended by asking again.
Not here: replacing a lost or stolen root, which is a vote (propose replace-keys).
"""

from dataclasses import dataclass
from pathlib import Path

from accord.agency.voice import Ledgerbook, Voice
from accord.client.home import KEYS_FOLDER, PrivateKey, key_file_name, load_key, new_key, store_key
from accord.ledger.state import KEYSETS, KeyRow
from accord.ledger.views import keys_of
from accord.statements.bodies import Compromised, Keyset, Role, RoleKey
from accord.wire.errors import Malformed
from accord.wire.ids import KeyId, OperatorId, TimeMs

NEXT_FOLDER = "next"  # Keys that are made and perhaps not stated yet.
RETIRED_FOLDER = "retired"  # Keys that are over; old batches and epochs may still need them.


@dataclass(frozen=True, slots=True)
class KeyFact:
    """A key in force. `is_here`: this home holds its private part."""

    role: Role
    operator: OperatorId
    key_id: KeyId
    since_ms: TimeMs
    is_here: bool


@dataclass(frozen=True, slots=True)
class KeyDesk:
    """For the person who holds the root. One caller at a time."""

    voice: Voice
    book: Ledgerbook

    def facts(self) -> tuple[KeyFact, ...]:
        """Every key in force, in the order of roles. Raises: Unavailable, Unproven."""
        self.book.sync()
        here = {key.key_id for key in self.voice.home.keys}
        found = (
            KeyFact(row.role, row.operator, key_id, row.since_ms, key_id in here)
            for key_id, row in self._in_force().items()
        )
        return tuple(sorted(found, key=lambda fact: (fact.role, fact.operator)))

    def rotate(
        self, role: Role, operator: OperatorId, void_since_ms: TimeMs | None = None
    ) -> int | None:
        """A new key for a role and operator in place of the old one, if there is one.

        `void_since_ms`: what the old one said from then on is not to count.

        The entry; None if the statement of an earlier run, which was cut off, had arrived.
        Raises: Malformed, Rejected, Unavailable, Unproven.
        """
        _refuse_root(role)
        self.book.sync()
        home = self.voice.home
        waiting = home.path / KEYS_FOLDER / NEXT_FOLDER
        fresh = _waiting_key(waiting, role, operator)
        entry: int | None = None
        if fresh.key_id not in self._in_force():
            added = fresh.role_key(home.chain, home.member)
            entry = self._say((role, operator), void_since_ms, added)
        # POINT OF NO RETURN. Crash from here: the same call finds the waiting key registered.
        name = key_file_name(role, operator)
        _retire(home.path, name)
        (waiting / KEYS_FOLDER / name).rename(home.path / KEYS_FOLDER / name)
        return entry

    def revoke(
        self, role: Role, operator: OperatorId, void_since_ms: TimeMs | None = None
    ) -> int | None:
        """End a key without another in its place, as when a person leaves; see `rotate`.

        The entry; None if it was over already. Raises: as `rotate`.
        """
        _refuse_root(role)
        self.book.sync()
        entry: int | None = None
        listed = {(row.role, row.operator) for row in self._in_force().values()}
        if (role, operator) in listed:
            entry = self._say((role, operator), void_since_ms)
        elif not (self.voice.home.path / KEYS_FOLDER / key_file_name(role, operator)).exists():
            have = ", ".join(f"{role}.{name}" for role, name in sorted(listed))
            raise Malformed("home.no_such_key", role=role.value, operator=operator, have=have)
        _retire(self.voice.home.path, key_file_name(role, operator))
        return entry

    def _in_force(self) -> dict[KeyId, KeyRow]:
        return keys_of(self.book.state, self.voice.home.member)

    def _say(
        self, ended: tuple[Role, OperatorId], void_since_ms: TimeMs | None, *added: RoleKey
    ) -> int:
        """State the keys that are kept, which proved themselves when they came, and the added."""
        row = self.book.state.get(KEYSETS, self.voice.home.member.encode())
        kept = [
            RoleKey(known.role, known.operator, known.public, b"")
            for known in self._in_force().values()
            if (known.role, known.operator) != ended
        ]
        void = [
            Compromised(key_id, void_since_ms)
            for key_id, known in self._in_force().items()
            if (known.role, known.operator) == ended and void_since_ms is not None
        ]
        version = row.version + 1 if row is not None else 1
        keys = tuple(sorted([*kept, *added]))
        body = Keyset(self.voice.header(), version, keys, tuple(sorted(void)))
        return self.voice.say(body)


def _refuse_root(role: Role) -> None:
    if role is Role.ROOT:
        raise Malformed("desk.root", mend="a root is replaced by vote: accord propose replace-keys")


def _waiting_key(directory: Path, role: Role, operator: OperatorId) -> PrivateKey:
    """The key that waits to be stated, made and stored now if there is none."""
    file = directory / KEYS_FOLDER / key_file_name(role, operator)
    if file.exists():
        return load_key(file)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = new_key(role, operator)
    store_key(directory, fresh)
    return fresh


def _retire(home: Path, name: str) -> None:
    """Put a private key aside, readable; nothing where this home does not hold it."""
    current = home / KEYS_FOLDER / name
    if not current.exists():
        return
    retired = home / KEYS_FOLDER / RETIRED_FOLDER
    retired.mkdir(exist_ok=True, mode=0o700)
    number = len(list(retired.iterdir()))
    current.rename(retired / f"{number:04d}.{name}")


def retired_decryptors(home: Path) -> list[PrivateKey]:
    """Decryptor keys that were put aside: what was sealed to them alone opens with nothing else.

    Raises: Malformed, for a file that is no key.
    """
    files = sorted((home / KEYS_FOLDER / RETIRED_FOLDER).glob(f"*.{Role.DECRYPTOR.value}.*.key"))
    return [load_key(file, file.name.partition(".")[2]) for file in files]
