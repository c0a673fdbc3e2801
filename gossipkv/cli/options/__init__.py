"""The options that commands share, and the formats of files that one of them names."""
