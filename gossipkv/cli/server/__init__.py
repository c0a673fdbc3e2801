"""The commands that run one member, and show its settings."""
