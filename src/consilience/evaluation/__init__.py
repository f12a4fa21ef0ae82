"""Scores of labels against gold: metrics, baselines, the benchmark, the data audit."""
