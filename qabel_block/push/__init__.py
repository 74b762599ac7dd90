"""Telling other devices of changes (PROTOCOL section 4)."""
