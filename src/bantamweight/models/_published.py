"""What the papers report of the families on ImageNet, top-5 error in percent, each with how it was evaluated.

The figures usually quoted side by side (15.3, 7.3, 6.7 and 3.57%) are those of ensembles on the test set; a table that
sets them beside the parameters of one net compares different things.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLISHED", "Published"]


@dataclass(frozen=True)
class Published:
    """`single` is the top-5 error of one net on the validation set, evaluated as `how` says, where the paper has it;
    `ensemble` that of `nets` nets on the test set, where there is one; `source` the table."""

    year: int
    single: float
    how: str
    ensemble: float | None
    nets: int | None
    source: str


PUBLISHED = {
    "alexnet": Published(2012, 18.2, "10 crops", 15.3, 7, "Krizhevsky et al. 2012, table 2"),
    "vgg16": Published(2014, 7.2, "many crops and scales", 7.3, 7, "arXiv:1409.1556, tables 5 and 7"),
    "vgg19": Published(2014, 7.1, "many crops and scales", 7.3, 7, "arXiv:1409.1556, tables 5 and 7"),
    "googlenet": Published(2014, 10.07, "1 crop", 6.67, 7, "arXiv:1409.4842, tables 2 and 3"),
    "resnet50": Published(2015, 5.25, "many scales", None, None, "arXiv:1512.03385, table 4"),
    "resnet101": Published(2015, 4.60, "many scales", None, None, "arXiv:1512.03385, table 4"),
    "resnet152": Published(2015, 4.49, "many scales", 3.57, 6, "arXiv:1512.03385, tables 4 and 5"),
    "densenet121": Published(2016, 7.71, "1 crop", None, None, "arXiv:1608.06993, table 3"),
}
