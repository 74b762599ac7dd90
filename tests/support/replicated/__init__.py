"""An installation of which any part may be lost: replicated engines on loopback."""
