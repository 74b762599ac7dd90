"""What may be forgotten: implementations of ICache."""
