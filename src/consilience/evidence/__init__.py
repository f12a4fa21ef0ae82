"""What the answers say: arrays of log-probabilities, less what prompts add to them."""
