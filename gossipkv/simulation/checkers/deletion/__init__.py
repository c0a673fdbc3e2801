"""What is deleted or has expired stays deleted."""
