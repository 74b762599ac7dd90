"""Authentication: implementations of IAuthenticator."""
