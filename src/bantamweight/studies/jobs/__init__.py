"""One kind of job per file: `kind(place, *, settings) -> facts`, its results written into `place.out`."""
