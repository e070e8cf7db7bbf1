"""Argon2, the signing key, the database and the files that auth publishes."""
