"""What a run found: labels, how far they can be trusted, and why each is what it is."""
