"""What the layers still know: images made again from an early, a middle and a late layer, and how far off they are."""

from __future__ import annotations

import argparse
from time import perf_counter

import numpy as np
import torch
from _explain_scene import head, images_for
from _scene import columns, row

from bantamweight.loading import load_model
from bantamweight.recipes.invert import invert_images
from bantamweight.stats import mean_interval


def inversion(options: argparse.Namespace) -> None:
    """Errors by layer, and of each layer how much worse it is than the one before it, image by image."""
    variant = load_model(options.model, weights=options.weights, size=options.size)
    images = (images_for(options) * 255).round().to(torch.uint8)
    head(options, f"Feature inversion, {options.steps} steps")
    began = perf_counter()
    found = invert_images(variant, images, steps=options.steps)
    took = perf_counter() - began
    columns("layer", " error of the image [95%]", " of its features", " worse than the layer before", " by [95%]")
    before = None
    for one in found.found:
        errors = one.image_error.double().numpy()
        cells = [_interval(errors), f"{float(one.feature_error.mean()):.3f}"]
        worse = None if before is None else errors - before
        cells += ["", ""] if worse is None else [f"{int((worse > 0).sum())} of {len(worse)}", _interval(worse)]
        row(one.layer, *cells)
        before = errors
    print(
        f"\n{took:.0f} s for {options.n} images and {len(found.found)} layers. Error: distance from the image over its"
    )
    print("distance from its own mean colour; 1 is knowing that colour alone.", flush=True)


def _interval(values: np.ndarray) -> str:
    ends = mean_interval(values)
    return f"{values.mean():.3f}" + ("" if ends is None else f" [{ends.low:.3f}, {ends.high:.3f}]")
