"""What to ask: which target under which shots, and which texts are alike."""
