"""The messages that members exchange, and how much fits into one."""
