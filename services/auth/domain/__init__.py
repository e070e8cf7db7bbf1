"""Decides who may log in and as whom; knows no gRPC, no SQLite and no hash function."""
