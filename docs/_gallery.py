"""The order of the gallery: what most people come with, first."""

ORDER = [
    "plot_digits_demo.py",
    "plot_crowd_labels.py",
    "plot_noisy_labels.py",
    "plot_grid_search.py",
    "plot_image_pipeline.py",
    "plot_few_labels.py",
    "plot_reject.py",
    "plot_conformal_sets.py",
    "plot_generated_digits.py",
    "plot_condense.py",
    "plot_denoising.py",
    "plot_scaling.py",
]


class Order:
    """Sorts by `ORDER`; a script that is not in it is an error."""

    def __init__(self, src_dir: str) -> None:
        pass

    def __call__(self, filename: str) -> int:
        """Return the place of a script."""
        return ORDER.index(filename)
