"""The REST protocol of restic (PROTOCOL section 11)."""
