"""What makes models/."""
