"""ClickHouse: our schema, its migrations, and the writer that needs no collector."""
