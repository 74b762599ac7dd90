"""Where blobs are kept: implementations of IStorageBackend."""
