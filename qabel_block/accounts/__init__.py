"""Who is asking: implementations of IAuthenticator."""
