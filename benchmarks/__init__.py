"""Measurements of sklabeldiff: ``python -m benchmarks accuracy|ablation|speed|show``.

cells     the data: real sets and clean sets with made candidate sets, and their folds
methods   what is compared, by name; `controls` holds the parts of DDMP on their own
runner    runs every method on every fold, one process a core, and keeps each result
report    ranks, paired differences and the acceptance summary, as markdown
speed     training loop, memory and fit times against their targets
"""
