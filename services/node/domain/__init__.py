"""What the node service decides, without knowing how it is asked or where its facts come from."""
