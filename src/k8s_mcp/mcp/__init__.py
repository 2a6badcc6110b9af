"""The MCP front end, over both of its transports: it translates tool calls to calls of `Runs`."""
