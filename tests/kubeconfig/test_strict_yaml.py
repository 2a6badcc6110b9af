import contextlib
import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from k8s_mcp.errors import KubeconfigError
from k8s_mcp.kubeconfig.strict_yaml import Number, Value, load

KIB_512 = 512 * 1024
TEXT_LINE = "tRUE NuLL 1e 0o9 _1 190:20:30 2001-01-01 2001-01-01T00:00:00Z = 0x inf nan 0b12 1.5e 0x1p4 1.2.3"
NUMBER_LINE = (
    "1 1e3 12e03 0o17 017 1_000 1_ 1__0 .5 1. 0x_1 0x1f +1 -1 0b11 +.5 1e+5 1E5 0X1F 0B1 0O7 123456.012 1_0.5"
)
TEXT = [*TEXT_LINE.split(), "--", "+", ".", "..", "a#b", "９", "http://a:1", "-a"]
NUMBERS = NUMBER_LINE.split()
BOOLEANS = ["y", "n", "Y", "yes", "No", "on", "OFF", "true", "True", "FALSE"]
NULLS = ["~", "null", "Null", "NULL", ""]

SAFE_TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff")
    | st.sampled_from("\t\n\"'\\:#-{}[]&*!%|>@`, ")
)
VALUES = st.recursive(
    st.booleans() | SAFE_TEXT | st.sampled_from(TEXT + NUMBERS + BOOLEANS + NULLS) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(SAFE_TEXT.filter(lambda key: key != "<<"), inner, max_size=4)
    ),
)


def read(text: str) -> Value:
    return load(text, max_nodes=10_000)


def refusal(text: str) -> KubeconfigError | None:
    try:
        read(text)
    except KubeconfigError as error:
        return error
    return None


@pytest.mark.parametrize(("scalars", "kind"), [(TEXT, str), (NUMBERS, Number), (BOOLEANS, bool), (NULLS, type(None))])
def test_an_unquoted_scalar_is_text_number_boolean_or_null(scalars: list[str], kind: type) -> None:
    values = read("".join(f"- {scalar}\n" for scalar in scalars))
    assert isinstance(values, list)
    assert [type(value) for value in values] == [kind] * len(scalars)


def test_kubectl_takes_unquoted_scalars_for_the_same(tmp_path: Path, kubectl: Path) -> None:
    scalars = TEXT + NUMBERS + BOOLEANS + NULLS
    listed = "".join(f"    - {scalar}\n" for scalar in scalars)
    (tmp_path / "config").write_text(f"kind: Config\nextensions:\n- name: x\n  extension:\n    values:\n{listed}")
    command = [str(kubectl), "config", "view", "--raw", "--kubeconfig", str(tmp_path / "config"), "--output=json"]
    shown = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    theirs = shown["extensions"][0]["extension"]["values"]
    kinds = {str: str, bool: bool, int: Number, float: Number, type(None): type(None)}
    ours = read(listed)
    assert isinstance(ours, list)
    assert [type(value) for value in ours] == [kinds[type(value)] for value in theirs]


def test_quoted_scalars_are_text_and_so_are_block_scalars() -> None:
    assert read("a: '1'\nb: \"true\"\nc: >-\n  1\n") == {"a": "1", "b": "true", "c": "1"}


@given(VALUES.map(lambda value: {"root": value}), st.sampled_from([None, 1]))
def test_json_is_loaded_as_the_same(value: dict[str, Value], indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    assert read(text) == value
    assert yaml.safe_load(text) == value


def test_json_is_yaml_also_with_tabs_and_windows_line_ends() -> None:
    assert read('\ufeff{\r\n\t"a": ["b", true, null]\r\n}\r\n') == {"a": ["b", True, None]}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x 1\nb: *x", "anchor"),
        ("a: *x", "anchor"),
        ("&x a: 1", "anchor"),
        ("!!python/object:os.system x", "tag"),
        ("a: !!str 1", "tag"),
        ("a: ! 1", "tag"),
        ("a: !!binary aGk=", "tag"),
        ("<<: {a: 1}", "merge"),
        ("{a: {<<: {b: 1}}}", "merge"),
        ("a: 1\na: 2", "line 2, column 1: a key that its mapping has already"),
        ('{"a": 1, a: 2}', "already"),
        ("1: a", "key that is not text"),
        ("yes: a", "key that is not text"),
        ("? [a]\n: b", "key that is not text"),
        ("{{a: b}: c}", "key that is not text"),
        ("a: 1\n---\nb: 2", "second document"),
        ("--- a\n--- b", "second document"),
        ("%YAML 1.1\n---\na: 1", "directive"),
        ("%TAG ! x\n---\na: 1", "directive"),
        ("a: \x00", "control"),
        ("a: \x1b[31m", "control"),
        ("a: \x85b", "control"),
        ("a: \u2028b", "control"),
        ("a: \ud800", "control"),
        ("a:\n\tb: 1", "not valid YAML at line 2"),
        ("a: [", "not valid YAML"),
        ('a: "', "not valid YAML"),
        ('a: "\\ud83d\\ude00"', "not valid YAML"),
        ("a: b: c", "not valid YAML at line 1"),
        ("[" * 33 + "]" * 33, "this large or this deep"),
        ("- " * 100, "this large or this deep"),
        ("[" + "a," * 10_000 + "]", "this large or this deep"),
    ],
)
def test_what_readers_could_understand_differently_is_refused(text: str, problem: str) -> None:
    with pytest.raises(KubeconfigError, match=problem):
        read(text)


@pytest.mark.parametrize("text", ["", "# nothing", "---", "\n\n"])
def test_an_empty_text_is_null(text: str) -> None:
    assert read(text) is None


BOMBS = {
    "flow lists": "[" * KIB_512,
    "flow mappings": "{" * KIB_512,
    "block lists": "- " * (KIB_512 // 2),
    "complex keys": "? " * (KIB_512 // 2),
    "entries": "[" + "a," * (KIB_512 // 2 - 1) + "]",
    "keys": "".join(f"{n:x}: 1\n" for n in range(KIB_512 // 10)),
    "documents": "---\n" * (KIB_512 // 4),
    "tag directives": "".join(f"%TAG !{n:x}! x\n" for n in range(KIB_512 // 16)),
    "anchors": "&a " * (KIB_512 // 3),
    "aliases": "a: &a [x,x]\n" + "".join(f"b{n}: &b{n} [*a,*a]\n" for n in range(KIB_512 // 20)),
    "comments": "#\n" * (KIB_512 // 2),
    "empty lines": "a:" + "\n" * KIB_512 + " b",
    "colons": "a:" * (KIB_512 // 2),
    "escapes": '"' + "\\x41" * (KIB_512 // 4) + '"',
    "quotes": "'" + "''" * (KIB_512 // 2) + "'",
    "one number": "1" * KIB_512,
    "one exponent": "1e" + "9" * KIB_512,
    "underscores": "1" + "_" * KIB_512 + "x",
    "folded text": "a: >\n" + "  x\n" * (KIB_512 // 4),
}


@pytest.mark.parametrize("name", BOMBS)
def test_hostile_text_is_read_or_refused_in_bounded_time(name: str) -> None:
    start = time.process_time()
    with contextlib.suppress(KubeconfigError):
        read(BOMBS[name])
    assert time.process_time() - start < 1, "takes 0.02 s on an idle machine"


YAML_LIKE = st.lists(
    st.sampled_from(
        ["a", "b: ", "- ", "? ", ": ", "\n", "  ", "[", "]", "{", "}", ",", '"', "'", "|", ">", "#", "&a ", "*a"]
    )
    | st.sampled_from(
        ["---", "...", "%YAML 1.2", "!!str ", "<<", "\t", "\r", "\\", "\ufeff", "\x00", "\ud800", "1", "~", "@", "`"]
    )
    | st.text(max_size=3)
).map("".join)


@given(st.text() | YAML_LIKE)
def test_any_text_is_read_or_refused_with_a_kubeconfig_error(text: str) -> None:
    error = refusal(text)
    assert error is None or (str(error).isprintable() and error.__context__ is None)
