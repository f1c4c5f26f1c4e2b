"""A rule file says exactly one rule set, and no bytes make the parser fail in another way."""

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from accord.agency.rulefile import EVERYTHING, parse_rule_file, template
from accord.agency.ruletext import dump_rule_file
from accord.statements.rules import RuleSet
from accord.wire.errors import Malformed
from rules_kit import rule_sets

US = template("us").encode()


@settings(max_examples=60, deadline=None)
@given(rule_sets())
def test_what_is_dumped_parses_to_the_same(rules: RuleSet) -> None:
    assert parse_rule_file(dump_rule_file(rules).encode(), EVERYTHING) == rules


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, len(US)),
    st.integers(0, 30),
    st.binary(max_size=8)
    | st.sampled_from(
        [b"- ", b"\n", b"{", b"[", b"&a ", b"*a", b": ", b"!!x ", b"%", b"\xff", b"? "]
    ),
)
def test_any_bytes_give_a_rule_set_or_malformed(at: int, cut: int, noise: bytes) -> None:
    with suppress_faults():
        parse_rule_file(US[:at] + noise + US[at + cut :])


@contextmanager
def suppress_faults() -> Iterator[None]:
    """Lets through what a parser may raise, and only if it says where and how to mend it."""
    try:
        yield
    except Malformed as err:
        if err.code != "rules.field" or not {"line", "field", "mend"} <= set(err.detail):
            raise
