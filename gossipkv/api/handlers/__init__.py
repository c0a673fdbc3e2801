"""What answers requests, one module per subject."""
