"""The shared parts of commands at a terminal: the wrapper, options, output, help, completion, prompts and log.

Never here: a business rule, a query, anything of one command alone.
"""
