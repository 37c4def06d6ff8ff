"""What Alembic runs: the caller's own connection, in the caller's own transaction."""

from alembic import context

from routewright.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
