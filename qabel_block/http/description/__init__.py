"""The API's description in OpenAPI 3.1, for client authors and their tools."""
