"""How a question is put: queries, framings and the prompts they become."""
