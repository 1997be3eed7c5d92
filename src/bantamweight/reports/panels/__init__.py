"""One panel per file: facts in, a section of the page out."""
