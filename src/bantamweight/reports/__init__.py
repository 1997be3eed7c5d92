"""Facts and stored pictures become one HTML page; nothing here imports torch."""
