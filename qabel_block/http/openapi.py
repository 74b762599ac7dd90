"""The API's description in OpenAPI 3.1, for client authors and their tools."""

from importlib.resources import files

DOCUMENT = (files(__package__) / "openapi.json").read_bytes()
"""The document as it is sent."""
