"""Lab nodes: small systemd machines with addresses of their own, made and removed by one program.

Run as `python3 -m lab` with the system's Python: nothing but the standard library is needed, so that it works
before any virtual environment exists. `docs/labs.md` explains it to users.
"""
