"""A third model of devices, air and radio: it makes the waveform of each transmitter and transforms it.

Nothing is said about spectra here; they come out of modulated carriers, the short time for which each is in
view, and the quantisation of the radio. It shares no code with the other two.
"""
