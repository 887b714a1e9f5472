"""The examples do what they say, against the real server."""
