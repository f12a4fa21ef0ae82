"""What was asked: an append-only file of every answer, and the runner that fills it."""
