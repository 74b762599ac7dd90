"""qabel-block: block storage for end-to-end encrypted clients."""

__version__ = "1.0.0"
