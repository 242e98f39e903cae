"""A SQLite file behind the memory."""
