"""docs/cli.md says what the program does."""

from k8s_mcp.cli.main import COMMANDS
from tests.support import cli_page


def test_the_page_is_that_of_this_program() -> None:
    assert cli_page.PAGE.read_text() == cli_page.page(), "run python -m tests.support.cli_page"


def test_it_has_every_command_and_what_the_client_says() -> None:
    text = cli_page.page()
    for name in COMMANDS:
        assert f"\n### k8s-mcp {name}\n" in text
    for message in ("the command was ended at its timeout of … s", "cannot reach … (…); start a service there with"):
        assert message in text
