"""The command `feedback`: one file a command."""
