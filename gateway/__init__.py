"""The one door of the node: configuration of Envoy and the WebSocket bridge."""
