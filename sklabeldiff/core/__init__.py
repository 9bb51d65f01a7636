"""The numerics: torch, numpy and scipy only. No estimator, no file, no print."""
