"""Storage backends: implementations of IStorageBackend."""
