"""The server process: composition, life cycle, readiness."""
