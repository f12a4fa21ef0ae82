"""Which labellings a model carries, which of them is meant, and what each is about."""
