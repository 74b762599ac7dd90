"""WebSockets: the far end of push (PROTOCOL section 4, RFC 6455)."""
