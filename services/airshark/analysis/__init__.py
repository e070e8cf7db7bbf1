"""From samples to devices: peaks, pulses, carriers, features, decisions. Needs numpy alone."""
