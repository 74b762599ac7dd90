"""The ``qabel-block`` command: an operator's tools for a ledger and its storage."""
