"""Checks of the folder deploy/. Each is a function that takes a Tree and yields problems; see __main__.py."""
