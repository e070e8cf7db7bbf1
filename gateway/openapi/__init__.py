"""The OpenAPI 3.1 document of the JSON interface, made from the descriptors."""

from gateway.openapi.document import build

__all__ = ["build"]
