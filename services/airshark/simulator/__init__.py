"""A radio in software: what an ath9k card in spectral mode would write, given what is on the air."""
