"""The Python client against the real server, over a wire that fails."""
