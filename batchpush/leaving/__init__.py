"""Has Batch and our own records forget a person who left, and keeps a receipt of it."""
