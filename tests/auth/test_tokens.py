"""Bearer tokens: how one is made, what a file of them may say, and how soon a change of it holds."""

import hashlib
import logging
import os
from pathlib import Path

import anyio
import pytest

from k8s_mcp import followed
from k8s_mcp.auth.tokens import PREFIX, Tokens, line_of, make_token, parse
from k8s_mcp.errors import StartError, Unauthorized
from k8s_mcp.models import Principal
from tests.support.execute import k8s_mcp

TOKEN = make_token()


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "SECONDS", 0.01)


async def accepted(tokens: Tokens, token: str) -> bool:
    try:
        return await tokens.principal(token) is not None
    except Unauthorized:
        return False


async def until_accepted(tokens: Tokens, token: str) -> None:
    with anyio.fail_after(30):
        while not await accepted(tokens, token):  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def until_refused(tokens: Tokens, token: str) -> None:
    with anyio.fail_after(30):
        while await accepted(tokens, token):  # noqa: ASYNC110
            await anyio.sleep(0.01)


def test_token_has_256_random_bits_and_a_prefix_of_its_own() -> None:
    tokens = {make_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(token.startswith(PREFIX) and len(token) == len(PREFIX) + 43 for token in tokens)


def test_file_has_digests_and_no_tokens() -> None:
    line = line_of(TOKEN, "alice", ["sre", "oncall"])
    assert line == f"alice sre,oncall sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}"
    ((_, found),) = parse(line.encode()).values()
    assert found == Principal("alice")
    assert found.groups == {"sre", "oncall"}


@pytest.mark.parametrize(
    "name", ["", "anonymous", "al ice", "oidc:alice", "system:serviceaccount:a:b", "a,b", "x" * 129]
)
def test_name_that_is_somebody_elses_cannot_be_given(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a name"):
        line_of(TOKEN, name, [])
    if name and " " not in name:
        with pytest.raises(ValueError, match="line 1"):
            parse(line_of(TOKEN, "alice", []).replace("alice", name).encode())


@pytest.mark.parametrize("length", range(1, len(line_of(TOKEN, "alice", ["sre"]))))
def test_line_that_was_written_in_part_is_no_line(length: int) -> None:
    line = line_of(TOKEN, "alice", ["sre"])
    with pytest.raises(ValueError, match="line 2"):
        parse(f"# those who may call\n{line[:length]}".encode())


def test_one_token_cannot_be_two_principals() -> None:
    with pytest.raises(ValueError, match="line 2 has the digest of another line"):
        parse(f"{line_of(TOKEN, 'alice', [])}\n{line_of(TOKEN, 'bob', [])}".encode())


def test_principal_can_have_several_tokens() -> None:
    lines = [line_of(make_token(), "alice", []) for _ in range(3)]
    assert len(parse("\n".join(lines).encode())) == 3


async def test_change_of_the_file_holds_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(line_of(TOKEN, "alice", []))
    tokens = Tokens(file)
    other = make_token()
    async with tokens.open():
        assert await accepted(tokens, TOKEN)
        assert not await accepted(tokens, other)
        file.write_text(line_of(other, "bob", []))
        await until_accepted(tokens, other)
        assert not await accepted(tokens, TOKEN)


@pytest.mark.parametrize("broken", ["alice", "\udcff", None])
async def test_version_that_makes_no_sense_changes_nothing_and_is_reported_once(
    tmp_path: Path, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "tokens"
    good = line_of(TOKEN, "alice", [])
    file.write_text(good)
    tokens = Tokens(file)
    with caplog.at_level(logging.ERROR):
        async with tokens.open():
            if broken is None:
                file.unlink()
            else:
                file.write_bytes(broken.encode(errors="surrogateescape"))
            with anyio.fail_after(30):
                while not caplog.records:  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            await anyio.sleep(0.1)
            assert await accepted(tokens, TOKEN)
            file.write_text("")
            await until_refused(tokens, TOKEN)
    assert len(caplog.records) == 1
    assert "still holds" in caplog.text


async def test_two_changes_at_once_both_hold(tmp_path: Path) -> None:
    """Same size, same time of change: only the content tells them apart."""
    file = tmp_path / "tokens"
    names = [make_token() for _ in range(20)]
    file.write_text(line_of(names[0], "alice", []))
    os.utime(file, ns=(0, 0))
    tokens = Tokens(file)
    async with tokens.open():
        for one in names[1:]:
            file.write_text(line_of(one, "alice", []))
            os.utime(file, ns=(0, 0))
            await until_accepted(tokens, one)


async def test_secret_is_a_directory_whose_files_are_swapped_at_once(tmp_path: Path) -> None:
    """As the kubelet does it: files are links into `..data`, itself a link that is renamed."""
    bob = make_token()
    for version, token, name in (("..one", TOKEN, "alice"), ("..two", bob, "bob")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "tokens").write_text(line_of(token, name, []))
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "tokens").symlink_to("..data/tokens")
    tokens = Tokens(tmp_path)
    async with tokens.open():
        assert await accepted(tokens, TOKEN)
        (tmp_path / "..new").symlink_to("..two")
        (tmp_path / "..new").replace(tmp_path / "..data")
        await until_accepted(tokens, bob)
        assert not await accepted(tokens, TOKEN)


async def test_service_does_not_start_without_a_file_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file"):
        async with Tokens(tmp_path / "none").open():
            pass
    (tmp_path / "tokens").write_text("alice")
    with pytest.raises(StartError, match="line 1"):
        async with Tokens(tmp_path / "tokens").open():
            pass


async def test_other_kinds_of_tokens_are_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("")
    tokens = Tokens(tmp_path / "tokens")
    async with tokens.open():
        assert await tokens.principal("eyJhbGciOiJub25lIn0.e30.") is None


def test_command_prints_the_token_alone_and_appends_its_line(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    first = k8s_mcp("token", "alice", "--group", "sre", "--group", "oncall", "--file", str(file))
    file.write_text(file.read_text().rstrip("\n"))
    second = k8s_mcp("token", "bob", K8S_MCP_AUTH_TOKENS=str(file))
    assert first.returncode == second.returncode == 0
    assert file.read_text().splitlines() == [
        line_of(first.stdout.strip(), "alice", ["sre", "oncall"]),
        line_of(second.stdout.strip(), "bob", []),
    ]
    assert file.stat().st_mode & 0o777 == 0o600
    assert first.stdout.strip() not in first.stderr


def test_command_without_a_file_prints_the_line_for_it() -> None:
    made = k8s_mcp("token", "alice")
    assert made.stderr.splitlines()[-1] == line_of(made.stdout.strip(), "alice", [])


@pytest.mark.parametrize(
    ("words", "code"), [(["al ice"], 2), (["alice", "--file", "/proc/version"], 1), (["a", "--group", ""], 2)]
)
def test_command_says_what_is_wrong(words: list[str], code: int) -> None:
    made = k8s_mcp("token", *words)
    assert made.returncode == code
    assert made.stdout == ""
    assert made.stderr.startswith("k8s-mcp: ")


def test_a_directory_of_tokens_is_no_file_to_write_to(tmp_path: Path) -> None:
    made = k8s_mcp("token", "alice", K8S_MCP_AUTH_TOKENS=str(tmp_path))
    assert (made.returncode, made.stdout) == (2, "")
    assert made.stderr == f"k8s-mcp: {tmp_path} is a directory of files with tokens; name one of those with --file\n"
