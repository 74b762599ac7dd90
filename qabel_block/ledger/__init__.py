"""Users, prefixes, objects, traffic and garbage, in a relational database."""
