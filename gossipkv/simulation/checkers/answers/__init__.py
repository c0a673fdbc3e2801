"""What clients are told: by reads, receipts, waits and watches."""
