"""The benchmark: methods compared at the same number of calls, and its tables."""
