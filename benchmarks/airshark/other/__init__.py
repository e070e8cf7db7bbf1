"""A second model of devices, air and radio: it shares no code and no shapes with the first.

The first one integrates what each transmitter does to its frequency within a window; this one gives each
signal a power density and lets the bins fluctuate. A detector that has learned the first one's habits fails
here.
"""
