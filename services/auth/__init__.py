"""Users, passwords, roles, signing keys and chute tokens."""
