"""The gRPC side of auth: its own API, and Envoy's external authorisation."""
