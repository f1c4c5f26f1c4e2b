"""The filter as a program: run here by an interpreter of BPF, against the table in plain words."""

import errno
import re
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accord.media import landlock
from accord.media.seccomp import ALLOWED, ANSWERED, ARCHITECTURES, Architecture, program

KILL, ALLOW, ERRNO = 0x8000_0000, 0x7FFF_0000, 0x0005_0000
HEADERS = {
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), r"__NR(?:3264)?_(\w+) (\d+)$"),
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), r"__NR_(\w+) (\d+)$"),
}
MACHINES = sorted(ARCHITECTURES)


def run(architecture: Architecture, number: int, audit: int, arguments: list[int]) -> int:
    """What the kernel's interpreter does with the filter and one call."""
    data = struct.pack("<IIQ6Q", number, audit, 0, *arguments)
    steps = program(architecture)
    at = accumulator = 0
    while True:
        code, if_true, if_false, constant = steps[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, constant)
            case 0x54:
                accumulator &= constant
            case 0x15:
                at += if_true if accumulator == constant else if_false
            case 0x06:
                return constant
            case _:
                raise AssertionError(code)


def verdict(architecture: Architecture, number: int, audit: int, arguments: list[int]) -> int:
    """The same in words: the slow twin."""
    names = {known: name for name, known in architecture.numbers.items()}
    name = names.get(number)
    if audit != architecture.audit or name is None:
        return KILL
    if name in ANSWERED:
        return ERRNO | ANSWERED[name]
    for check in ALLOWED[name]:
        if arguments[check.argument] & 0xFFFF_FFFF & check.mask not in check.values:
            return KILL
    return ALLOW


WORDS = st.sampled_from(
    [0, 1, 2, 3, 4, 7, 15, 0x20, 0x22, 0x3D0F00, 0x7D0F00, 0x3D0F01, 1 << 32, (1 << 32) | 15]
) | st.integers(0, 2**64 - 1)


@given(
    st.sampled_from(MACHINES),
    st.sampled_from(sorted({n for a in ARCHITECTURES.values() for n in a.numbers.values()}))
    | st.integers(0, 2**32 - 1),
    st.sampled_from([0xC000_003E, 0xC000_00B7, 0x4000_0003, 0x4000_0028]),
    st.lists(WORDS, min_size=6, max_size=6),
)
def test_the_program_says_what_the_table_says(
    machine: str, number: int, audit: int, arguments: list[int]
) -> None:
    architecture = ARCHITECTURES[machine]
    said = run(architecture, number, audit, arguments)
    assert said == verdict(architecture, number, audit, arguments)


@pytest.mark.parametrize("machine", MACHINES)
def test_each_call_passes_and_its_neighbours_in_disguise_do_not(machine: str) -> None:
    architecture = ARCHITECTURES[machine]
    fit = [0, 0, 0, 0x22, 2**64 - 1, 0]
    first = {"write": 1, "clone": 0x3D_0F00, "prctl": 15}
    for name, number in architecture.numbers.items():
        arguments = [first.get(name, 0), *fit[1:]]
        wanted = ALLOW if name in ALLOWED else ERRNO | errno.ENOSYS
        assert run(architecture, number, architecture.audit, arguments) == wanted
        for other in (0x4000_0003, 0):
            assert run(architecture, number, other, arguments) == KILL
        assert run(architecture, number | 0x4000_0000, architecture.audit, arguments) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_each_value_passes_and_each_bit_beside_it_does_not(machine: str) -> None:
    architecture = ARCHITECTURES[machine]
    for name, checks in ALLOWED.items():
        fit = [0] * 6
        for check in checks:
            fit[check.argument] = check.values[0]

        def said(argument: int, word: int, fit: list[int] = fit, name: str = name) -> int:
            changed = [*fit[:argument], word, *fit[argument + 1 :]]
            return run(architecture, architecture.numbers[name], architecture.audit, changed)

        for check in checks:
            for value in check.values:
                assert said(check.argument, value) == ALLOW
                assert said(check.argument, value | 1 << 40) == ALLOW  # The kernel looks no higher.
                for bit in range(32):
                    near = value ^ 1 << bit
                    passes = near & check.mask in check.values
                    assert said(check.argument, near) == (ALLOW if passes else KILL)


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_the_kernel_headers(machine: str) -> None:
    header, pattern = HEADERS[machine]
    if not header.exists():
        pytest.skip("no kernel headers of this architecture here")
    found = dict(re.findall(pattern, header.read_text(encoding="ascii"), re.MULTILINE))
    known = ARCHITECTURES[machine].numbers | {"seccomp": ARCHITECTURES[machine].seccomp}
    assert {name: int(found[name]) for name in known} == known
    assert set(known) == {*ALLOWED, *ANSWERED, "seccomp"}


@pytest.mark.parametrize(("abi", "size"), [(1, 8), (3, 8), (4, 16), (5, 16), (6, 24), (99, 24)])
def test_a_ruleset_is_what_its_kernel_knows(abi: int, size: int) -> None:
    words = struct.unpack(f"={size // 8}Q", landlock.ruleset(abi))
    files = {1: 0x1FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF, 6: 0xFFFF, 99: 0xFFFF}[abi]
    assert words == (files, 3, 3)[: len(words)]
