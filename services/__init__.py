"""The services of a Paradrop node and what starts them."""
