"""What clients see of the core's values: rows, tables, receipts and refusals, and the texts that stand for them."""
