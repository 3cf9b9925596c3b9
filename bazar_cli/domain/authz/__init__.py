"""Authorization: permissions, specs, the policy, the row rules, and the explanation of a decision.

Never here: a request or a result of one noun.
"""
