"""Any bytes give fingerprints or a code: nothing leaves `fingerprint_bytes` but its answer."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accord.fingerprint import Fingerprinted, Unhashable, fingerprint_bytes
from accord.fingerprint.formats import FORMATS, format_of
from accord.media.worker import encode_answer, parse_answer
from accord.wire.errors import Malformed
from pictures_kit import FORMS, animation, picture

SMALL = picture(3, (48, 32))
FILES = [form(SMALL) for form in FORMS.values()]
FILES += [animation([1, 2], name) for name in ("GIF", "WEBP", "PNG", "AVIF")]
HEADS = st.sampled_from([data[:24] for data in FILES])
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 12))):
        # Headers are short and decide most; half of the changes go there.
        reach = draw(st.sampled_from([64, len(data)]))
        data[draw(st.integers(0, min(reach, len(data)) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@SLOW
@given(st.binary(max_size=400) | st.tuples(HEADS, st.binary(max_size=400)).map(b"".join))
def test_noise_is_never_a_picture(noise: bytes) -> None:
    answer = fingerprint_bytes(noise)
    assert isinstance(answer, Unhashable)
    assert answer.digests is not None
    assert format_of(noise) in (None, *FORMATS)


@SLOW
@given(mutants())
def test_damaged_files_give_an_answer(data: bytes) -> None:
    answer = fingerprint_bytes(data)
    assert isinstance(answer, Fingerprinted | Unhashable)


@given(st.binary(max_size=200))
def test_a_worker_can_say_only_what_an_answer_is(raw: bytes) -> None:
    try:
        answer = parse_answer(raw)
    except Malformed:
        return
    assert encode_answer(answer) == raw
