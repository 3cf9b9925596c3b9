"""Every query on the schema `bazar`, limited to the operator's reach, and the one way to connect.

Never here: a rule about who may write a row; the services apply those on what is locked here.
"""
