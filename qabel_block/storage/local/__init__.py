"""Blobs as files below a directory."""
