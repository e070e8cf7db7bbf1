"""What every service shares: errors, identity, access, servers, storage. It knows no service."""
