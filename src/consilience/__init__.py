"""Finds the labels that a language model already believes, without being given any."""
