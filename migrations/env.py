"""Runs the revisions; Alembic loads this.

The database is the one that was given as ``-x url=DSN``, in any form that
``--psql-dsn`` takes.
"""

from logging.config import fileConfig

from alembic import context
from alembic.util import CommandError

from qabel_block.ledger.migrate import DSN, connected
from qabel_block.ledger.schema import metadata

config = context.config
dsn = config.attributes.get(DSN) or context.get_x_argument(as_dictionary=True).get(
    "url"
)
if not dsn:
    raise CommandError("which database? alembic -x url=DSN ...")
if config.config_file_name is not None:
    fileConfig(config.config_file_name, disable_existing_loggers=False)

with connected(dsn) as connection:
    # One transaction around all revisions, on SQLite too: after a failure
    # everything is as before.
    context.configure(
        connection=connection, target_metadata=metadata, transactional_ddl=True
    )
    with context.begin_transaction():
        context.run_migrations()
