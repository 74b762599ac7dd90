"""HTTP: the protocol of PROTOCOL section 2 on the operations."""
