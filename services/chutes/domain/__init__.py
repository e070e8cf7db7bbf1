"""Decides what happens to chutes; knows no Docker, no SQLite and no gRPC."""
