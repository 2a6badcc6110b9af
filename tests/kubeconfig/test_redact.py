"""Redaction: no form of a credential value gets through, and nothing else is touched."""

import itertools
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from k8s_mcp.kubeconfig.redact import MASK, MAX_VALUES, MIN_BYTES, Redactor

MANY = settings(max_examples=200, deadline=None)
TOKEN = "s3cr3t~~~t0ken???9"
PEM = (
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "MIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu\n"
    "KUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQJAIJLixBy2qpFoS4DSmoEm\n"
    "o3qGy0t6z09AIJtH+5OeRV1be\n"
    "+N4=\n"
    "-----END RSA PRIVATE KEY-----\n"
)
VALUES = st.lists(st.text("ab-=~東é ", min_size=1, max_size=24), max_size=4)
TEXT = st.text("ab-=~東é ", max_size=60).map(str.encode)


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.parametrize("around", ["{}", "token: {}", "{}\n", '"{}", "{}"', "x{}{}y", "\n\n{}", "東{}京"])
def test_a_value_is_masked_wherever_it_stands(around: str) -> None:
    text = around.replace("{}", TOKEN).encode()
    assert Redactor([TOKEN]).apply(text) == text.replace(TOKEN.encode(), MASK)


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
@pytest.mark.parametrize("value", [TOKEN, "8letters", "longer-than-it-has-to-be", b64(TOKEN)])
def test_base64_is_masked_at_any_place_of_a_longer_one(value: str, encode: Callable[[bytes], bytes]) -> None:
    redactor = Redactor([value])
    for before, after in itertools.product(range(7), range(7)):
        text = encode(b"<" * before + value.encode() + b">" * after)
        for given_text in (text, text.rstrip(b"=")):
            # what remains are groups of four characters, for three bytes, that do not belong to the value alone
            head, tail = redactor.apply(given_text).split(MASK)
            assert len(head) == 4 * -(-before // 3)
            assert len(tail) <= 4 * -(-(after + 2) // 3)


def test_what_a_base64_value_decodes_to_is_masked_in_every_form() -> None:
    redactor = Redactor([b64(TOKEN)])
    for text in (TOKEN, b64(TOKEN), b64(b64(TOKEN)), b64(f"xy{TOKEN}")):
        masked = redactor.apply(f"<{text}>".encode())
        assert re.fullmatch(rb"<.{0,4}\[redacted\].{0,4}>", masked)


@pytest.mark.parametrize("indent", ["", "    ", "\t", "        - "])
@pytest.mark.parametrize("value", [PEM, b64(PEM)])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_long_line_of_a_key_is_masked_however_it_is_indented(value: str, indent: str, end: str) -> None:
    text = "".join(f"{indent}{line}{end}" for line in PEM.splitlines())
    masked = Redactor([value]).apply(text.encode()).decode()
    lines = ["-----BEGIN RSA PRIVATE KEY-----", *["[redacted]"] * 3, "+N4=", "-----END RSA PRIVATE KEY-----"]
    assert masked == "".join(f"{indent}{line}{end}" for line in lines)


def test_a_key_on_one_line_is_masked_in_base64() -> None:
    text = f"client-key-data: {b64(PEM)}\n".encode()
    assert Redactor([b64(PEM)]).apply(text) == b"client-key-data: [redacted]\n"
    assert Redactor([PEM]).apply(text).startswith(b"client-key-data: [redacted]")


def test_the_white_space_around_a_value_does_not_hide_it() -> None:
    assert Redactor([f"  {TOKEN}\n"]).apply(f"<{TOKEN}>".encode()) == b"<[redacted]>"


@pytest.mark.parametrize("value", ["-----dashes-----", "-----begin", "=========", "        x        y"])
def test_an_odd_value_is_masked_too(value: str) -> None:
    assert value.strip().encode() not in Redactor([value]).apply(f"a {value} b".encode())


@MANY
@given(st.text(max_size=MIN_BYTES - 1).filter(lambda value: len(value.encode()) < MIN_BYTES), TEXT)
@example("", b"text")
@example("admin", b"admin:x:administrator\n")
@example("       ", b"        indented text\n")
def test_a_short_value_is_left_alone(value: str, text: bytes) -> None:
    text = value.encode().join((b"<", text, b">"))
    assert Redactor([value]).apply(text) == text


@MANY
@given(VALUES, TEXT)
def test_no_value_is_left_and_nothing_changes_twice(values: list[str], text: bytes) -> None:
    redactor = Redactor(values)
    masked = redactor.apply(text + "|".join(values).encode())
    for value in (value.strip().encode() for value in values):
        assert len(value) < MIN_BYTES or value not in masked
    assert redactor.apply(masked) == masked


@MANY
@given(st.binary())
def test_without_values_nothing_changes(text: bytes) -> None:
    assert Redactor([]).apply(text) == text
    assert Redactor([]).open_end(text) == 0


@MANY
@given(st.lists(st.text("ab", min_size=8, max_size=12), max_size=5), st.text("abx", max_size=50), st.text("ab"))
@example(["abababab"], "xabababab", "")
@example(["aaaabbbb", "bbbbcccc"], "aaaabbbb", "x")
@example(["aaaaaaaaaaaa", "aaaaaaaab", "baaaaaaa"], "aaaaaaaabaaaaaaaaaaaaaa", "b")
def test_text_cut_before_its_open_end_is_masked_as_if_it_were_not_cut(
    values: list[str], text: str, rest: str
) -> None:
    redactor = Redactor(values)
    first, later = text.encode(), rest.encode()
    cut = len(first) - redactor.open_end(first)
    assert redactor.apply(first[:cut]) + redactor.apply(first[cut:] + later) == redactor.apply(first + later)


@pytest.mark.parametrize("seen", range(1, len(TOKEN)))
def test_the_beginning_of_a_value_is_the_open_end(seen: int) -> None:
    redactor = Redactor([TOKEN])
    assert redactor.open_end(b"text " + TOKEN[:seen].encode()) == seen
    assert redactor.open_end(b"text " + TOKEN[:seen].encode() + b" ") == 0
    assert redactor.open_end(TOKEN[:seen].encode()) == seen


def test_a_whole_value_is_no_open_end() -> None:
    assert Redactor([TOKEN]).open_end(f"text {TOKEN}".encode()) == 0


def test_the_open_end_is_bounded_for_text_that_repeats_values() -> None:
    values = ["aaaabbbb", "bbbbaaaa", "abababab", "aaaaaaaa"]
    for text in ("aaaabbbb", "ab", "a", "b"):
        assert Redactor(values).open_end(text.encode() * 10_000) <= sum(map(len, values))


def test_the_number_of_forms_is_bounded_and_the_values_themselves_come_first() -> None:
    keys = [b64(PEM.replace("A", f"{n:04}")) for n in range(100)]
    redactor = Redactor([*keys, "8letters"])
    assert repr(redactor) == f"Redactor({MAX_VALUES} values)"
    assert redactor.apply(" ".join([*keys, "8letters"]).encode()) == b" ".join([MASK] * 101)


def test_a_repr_shows_no_value() -> None:
    assert TOKEN not in repr(Redactor([TOKEN]))
