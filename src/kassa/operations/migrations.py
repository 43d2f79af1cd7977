"""What an operator does about the database's version."""

from kassa.db.migrate import applied_names
from kassa.db.migrate import migrate as apply_migrations
from kassa.main import open_books
from kassa.operations.acting import Told
from kassa.settings import Settings


async def migrate(settings: Settings) -> Told:
    """Apply the missing migrations."""
    async with open_books(settings, migrating=True) as database, database.pool.acquire() as connection:
        await apply_migrations(connection)
        return {"migrations": await applied_names(connection)}
