"""What it costs to keep ledgers."""
