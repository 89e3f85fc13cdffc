//! PostgreSQL: migrations, the batch commit, reads, the outbox, the private local server
