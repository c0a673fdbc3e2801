"""The settings of a member, and its log."""
