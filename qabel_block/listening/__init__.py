"""Where the server listens, and how it comes by its connections."""
