"""The `advkd` command, a file per group of commands. Nothing but `advkd.__main__` imports it."""
