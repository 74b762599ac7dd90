"""Logging: what lines look like and where they go."""
