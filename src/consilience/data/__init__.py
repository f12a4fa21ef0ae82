"""What is labelled: examples, what relates them, and the files that they come from and go to."""
