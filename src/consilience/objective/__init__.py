"""What labels are judged by: the evidence under given labels, and the terms that read it."""
