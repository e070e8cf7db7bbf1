"""The world outside of the node service: kernel files, psutil, other services, controllers, daemons."""
