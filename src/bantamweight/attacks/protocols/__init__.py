"""One protocol per file: which attacks an image must withstand, in which order, to be called robust."""
