"""Connections to Redis: where it is, how to log in, and what to do when it is lost."""
