"""The smallest plain program that asks the API for one user: `http.client` and JSON.

It has no session, no other output, no error messages. The difference to bazar on a remote target is their price.
"""

from __future__ import annotations

import json
import os
import sys
from http.client import HTTPConnection


def app() -> None:
    """Show one user as JSON. Parameters: the host with its port, and an address."""
    host, email = sys.argv[1:]
    connection = HTTPConnection(host)
    headers = {"Authorization": f"Bearer {os.environ['BAZAR_TOKEN']}"}
    connection.request("GET", f"/api/v1/users/{email}", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    print(json.dumps(json.loads(answer.read()), indent=2))
