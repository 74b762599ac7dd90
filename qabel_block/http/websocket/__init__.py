"""WebSockets: push to clients (PROTOCOL section 4, RFC 6455)."""
