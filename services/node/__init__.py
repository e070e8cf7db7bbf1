"""Identity, information, telemetry and settings of the node."""
