"""One explainer per file; the core captures activations and gradients once."""
