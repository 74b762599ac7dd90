"""The ledger's database on PostgreSQL, through txpostgres and psycopg2."""
