"""The public data sets by name. Reads nothing and downloads nothing."""

from sklabeldiff.datasets._facts import DataSet
from sklabeldiff.datasets._facts_crowds import CROWDS
from sklabeldiff.datasets._facts_images import IMAGES
from sklabeldiff.datasets._facts_tables import TABLES

DATA_SETS: dict[str, DataSet] = {**TABLES, **IMAGES, **CROWDS}
