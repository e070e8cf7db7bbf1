"""Access points, stations, leases and host configuration."""
