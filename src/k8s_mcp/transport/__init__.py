"""uvicorn and its connections: how many, how large, how slow, encrypted or not, and the graceful end."""
