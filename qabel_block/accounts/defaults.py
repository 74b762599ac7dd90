"""What a user of built-in accounts is granted if nothing else is said."""

STORAGE_QUOTA = 10 * 2**30
"""Bytes: 10G."""

TRAFFIC_QUOTA = 100 * 2**30
"""Bytes a month: 100G."""
