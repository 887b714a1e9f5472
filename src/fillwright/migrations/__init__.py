"""Numbered SQL files, one folder a database; applied in order, once, and never edited afterwards."""
