"""The HTTP front end: it translates requests to calls of `Runs`, and events to bytes."""
