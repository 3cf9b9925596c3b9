"""`db reset`: at the head bazar's tables are emptied; from another revision they are dropped and created again.

Never here: consent, or the deletion of identities.
"""
