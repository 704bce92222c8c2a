"""The command line, `etcdcompute NOUN VERB`: one module a noun, imported when it is used."""

from etcdcompute.cli.app import main

__all__ = ["main"]
