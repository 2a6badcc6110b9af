"""What is wrong is said in our own words, the same whatever library or interpreter finds it, and with its place."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from k8s_mcp.web import problems, words
from tests.support.client import Client
from tests.web.test_routes import WRONG_FIELDS, post, problem

SOURCE = Path(words.__file__).parents[1]
RFC = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


def test_titles_are_those_of_the_specification() -> None:
    """Python 3.13 took the new names of 413 and 422, 3.12 has the old ones."""
    assert RFC == words.TITLES
    assert {int(status) for status in problems.STATUS.values()} <= RFC.keys()


def test_no_module_of_the_front_end_asks_the_interpreter_for_a_title() -> None:
    for file in (SOURCE / "web").glob("*.py"):
        names = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
        assert "phrase" not in names, file


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": ""}, "must not be empty"),
        ({"command": 1}, "must be text"),
        ({"kubeconfig": ""}, "must not be empty"),
        ({"kubeconfig": {}}, "must be text"),
        ({"timeout": 0}, "must be at least 1"),
        ({"timeout": 1.5}, "must be a whole number"),
        ({"timeout": "5"}, "must be a whole number"),
        ({"timeout": True}, "must be a whole number"),
        ({"timeout": 10**400}, "must be at most 3600, the maximum of this server"),
        ({"read_only": 1}, "must be true or false"),
        ({"dry_run": "yes"}, "must be true or false"),
        ({"stdin": None, "extra": 1}, "is no field of this request"),
        ({"command": "\ud800"}, "must be valid Unicode: it holds half a surrogate pair"),
    ],
)
async def test_field_is_said_to_be_wrong_in_our_words(client: Client, changes: dict[str, Any], message: str) -> None:
    document = problem(await post(client, {**client.body("ls"), **changes}), 422)
    assert [error["message"] for error in document["errors"]] == [message]
    assert document["detail"] == f"{document['errors'][0]['field']}: {message}"


async def test_no_wrong_field_is_said_in_the_words_of_a_library(client: Client) -> None:
    bodies = [{**client.body("ls"), **changes} for changes, _ in WRONG_FIELDS]
    for body in (*bodies, {"kubeconfig": "x"}, {"command": "ls", "cluster": "x" * 254}):
        for error in problem(await post(client, body), 422)["errors"]:
            assert error["message"] != words.OTHERWISE
            for word in ("Input", "Value", "String", "valid ", "Field", "Extra", "pattern", "validation"):
                assert word not in error["message"].replace("valid Unicode", ""), error
    kubeconfig = client.kubeconfig
    for ttl, message in (
        (0, "must be at least 1"),
        (10**7, "must be at most 2592000"),
        ("1", "must be a whole number"),
    ):
        response = await client.http.put("/clusters/one", json={"kubeconfig": kubeconfig, "ttl": ttl})
        assert problem(response, 422)["errors"] == [{"field": "ttl", "message": message}]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("name", ["A", "-a", "a-", "a" * 64, "a b", "%C3%A9", "a%00", "a%0a"])
async def test_name_of_a_cluster_is_said_to_be_wrong_in_words(client: Client, method: str, name: str) -> None:
    response = await client.http.request(method, f"/clusters/{name}", json={"kubeconfig": client.kubeconfig})
    message = "must be 1 to 63 of a-z, 0-9, `.`, `_` and `-`, with a letter or a digit at both ends"
    assert problem(response, 422)["errors"] == [{"field": "name", "message": message}]


@pytest.mark.parametrize(
    ("key", "message"), [("", "must not be empty"), ("x" * 256, "must have at most 255 characters")]
)
async def test_header_is_said_to_be_wrong_in_words(client: Client, key: str, message: str) -> None:
    response = await client.http.post("/sse", json=client.body("ls"), headers={"Idempotency-Key": key})
    assert problem(response, 422)["errors"] == [{"field": "Idempotency-Key", "message": message}]


async def test_wrong_method_says_the_right_ones(client: Client) -> None:
    assert (
        problem(await client.http.patch("/clusters/one"), 405)["detail"] == "this path takes DELETE, GET, HEAD, PUT"
    )


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is not JSON at line 1, column 1"),
        (b"{", "the body is not JSON at line 1, column 2"),
        (b'{"command": "ls"\n "timeout": 5}', "the body is not JSON at line 2, column 2"),
        (b'{\r\n  "command": ls\r\n}', "the body is not JSON at line 2, column 14"),
        ('{"command": "é", x}'.encode(), "the body is not JSON at line 1, column 18"),
        (b'{"command": "ls",}', "the body is not JSON at line 1, column 18"),
        (b'{"command": "ls",\n}', "the body is not JSON at line 2, column 1"),
        (b'["a" , ]', "the body is not JSON at line 1, column 8"),
        (b'{"command": "a\nb"}', "the body is not JSON at line 1, column 15"),
        (b"{} {}", "the body is not JSON at line 1, column 4"),
        (b"\xef\xbb\xbf{}", "the body is not JSON at line 1, column 1"),
        (b'{"command": "\xff"}', "the body is not UTF-8 at byte 14; JSON is sent in UTF-8"),
        (b'{"a": {"command": "ls", "command": "rm"}}', "the body has an object that names a key twice"),
        (b'{"timeout": NaN}', "the body has NaN, which is no JSON"),
        (b'{"timeout": -Infinity}', "the body has -Infinity, which is no JSON"),
        (b"[" * 100_000, "the body nests too deep"),
        (b"1" * 5_000, "the body has a number of too many digits"),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_malformed_json_says_where(client: Client, body: bytes, detail: str) -> None:
    for method, path in (("POST", "/sse"), ("PUT", "/clusters/one")):
        headers = {"Content-Type": "application/json"}
        response = await client.http.request(method, path, content=body, headers=headers)
        assert problem(response, 400)["detail"] == detail


def test_newer_interpreters_place_a_trailing_comma_elsewhere_and_it_is_said_the_same() -> None:
    """At the comma since 3.13, at the bracket before."""
    text = '{"a": [1,\n ],\n "b": 2,\n\n}'
    comma, bracket = text.rindex(","), text.rindex("}")
    assert words.place(text, comma) == words.place(text, bracket) == "line 5, column 1"
    assert words.place(text, text.index(",")) == "line 2, column 2"
    assert words.place(json.dumps([1, 2]), 2) == "line 1, column 3"
