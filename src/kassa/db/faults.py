"""What asyncpg raises when there is no database to talk to, when it goes away, or when it never answers."""

import asyncpg

DATABASE_AWAY = (
    OSError,  # refused, reset, timed out, no such socket
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that the server ends in the moment in which it is taken from the pool
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""Nothing is wrong with the request: the same one may succeed later."""
