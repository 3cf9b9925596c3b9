"""The Auth service with password hashes of the lowest cost: 60 ms less for each sign-in and each new password.

Runs as `python quick_auth.py ARGUMENTS...`, with the arguments of `python -m bazar_cli.devstack.auth`.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    del sys.path[0]  # this folder: its files are no modules of their own
    from bazar_cli.devstack.auth import __main__, passwords

    passwords.COST = 4
    sys.exit(__main__.main())
