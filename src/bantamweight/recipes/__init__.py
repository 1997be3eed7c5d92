"""What joins rooms: cut and fine-tune, export."""
