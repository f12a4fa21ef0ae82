"""What labels are worth against gold: metrics, baselines, the benchmark, the data audit."""
