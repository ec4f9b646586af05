"""What the recognition wing does: from tiles to digits."""
