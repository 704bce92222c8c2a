"""JSON schemas of bodies and queries, one module per noun, in parallel with the handlers.

A schema that changed with a version is picked by a function of that version.
"""
