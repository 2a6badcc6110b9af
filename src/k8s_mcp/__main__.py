"""`python -m k8s_mcp`: the same as `k8s-mcp`."""

import sys

from k8s_mcp.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
