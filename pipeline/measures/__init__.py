"""What numbers mean: instruments, cells, windows, scores, intervals. Pure functions over small histograms."""
