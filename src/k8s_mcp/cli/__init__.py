"""The command `k8s-mcp`: a file for each subcommand, whose imports happen when it is chosen."""
