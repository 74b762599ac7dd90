"""The revisions, oldest first: aa3320db4c7f is the legacy schema."""
