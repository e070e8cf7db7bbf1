"""What Envoy cannot do itself: WebSockets, health of the whole node, pages."""
