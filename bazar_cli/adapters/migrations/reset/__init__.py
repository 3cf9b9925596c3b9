"""`db reset`: what bazar owns is dropped and made anew, what others built on it is put back.

Never here: consent, or the deletion of identities.
"""
