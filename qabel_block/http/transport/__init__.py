"""Connections and requests: all that leans on the insides of Twisted's HTTP server."""
