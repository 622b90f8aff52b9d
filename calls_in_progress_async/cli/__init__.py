"""The command line, on top of everything else; only this package imports click and rich."""
