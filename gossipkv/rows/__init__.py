"""What may be asked of rows: names, keys, values, conditions, durations, numbers of members.

Each rule stands here once. The HTTP API, the client, the commands, the embedded member and the core's own check of what
it is given import it, so all of them accept and refuse the same. What breaks a rule raises InvalidInputError.
"""
