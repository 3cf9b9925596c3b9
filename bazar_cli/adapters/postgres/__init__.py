"""Every query on the schema `bazar`, limited to the operator's reach, and the one way to connect.

Never here: a rule about writing a row; services apply those rules to the rows that are locked here.
"""
