"""Checks of the deploy/ folder. A check is a function that takes a Tree and yields problems; __main__.py lists them."""
