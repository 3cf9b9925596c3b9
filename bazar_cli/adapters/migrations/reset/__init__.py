"""`db reset`: bazar's tables are emptied in place at the head; from another revision they are dropped and created again.

Never here: consent, or the deletion of identities.
"""
