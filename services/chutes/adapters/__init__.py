"""Talks to the engine, the database and the file system for the domain."""
