"""The command line as a user runs it: real processes, a real server."""
