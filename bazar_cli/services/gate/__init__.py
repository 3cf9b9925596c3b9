"""From a verified identity to a Grant: the gate, identities, connections to both systems, the first superuser.

Never here: a use case; the gate runs those and knows none.
"""
