"""Spectrum sampling and detection of interferers."""
