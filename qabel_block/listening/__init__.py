"""Listening sockets: endpoints, TLS, sharing between processes."""
