"""Push: events about changes to other devices (PROTOCOL section 4)."""
