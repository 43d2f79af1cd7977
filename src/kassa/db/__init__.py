"""PostgreSQL: the pool, the migrations, and the server that pip installed."""
