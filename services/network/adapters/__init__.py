"""Talks to the kernel, to hostapd and dnsmasq, and to the disk."""
