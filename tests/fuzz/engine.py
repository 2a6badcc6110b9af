"""One process of coverage-guided fuzzing: `python -m tests.fuzz.engine TARGET [libFuzzer's arguments]`.

https://llvm.org/docs/LibFuzzer.html has the arguments; https://github.com/google/atheris does the rest.
"""

import importlib
import shlex
import sys
from typing import Any

# Of the dependency group `fuzz`, which few installations have: nobody knows its types there.
atheris: Any = importlib.import_module("atheris")

with atheris.instrument_imports(include=["k8s_mcp", "json", "starlette", "h11", "uvicorn"]):
    from tests.fuzz import targets


def main() -> None:
    name = sys.argv.pop(1)
    target = targets.target(name)

    def one_input(data: bytes) -> None:
        targets.bounded(target, data)

    # libFuzzer starts itself again to merge: as a shell command, of which this is the beginning.
    itself = shlex.join((sys.executable, "-m", "tests.fuzz.engine", name))
    atheris.Setup([itself, *sys.argv[1:]], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
