"""Run the revisions on the connection that `features.state.database` passes to Alembic."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
