"""Entry point: `python3 -I -S …/k8s_mcp/runner/__main__.py OPTIONS`.

Started by path, so it finds its own package first.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, __file__.rsplit("/", 3)[0])
    from k8s_mcp.runner.main import main

    os._exit(
        main(sys.argv[1:])
    )  # without the interpreter's clean-up: there is nothing left to clean, and the client is waiting
