"""From a verified identity to a Grant: the gate, identities, connections to both systems, the first superuser.

Never here: a use case. The gate runs use cases that others hand it.
"""
