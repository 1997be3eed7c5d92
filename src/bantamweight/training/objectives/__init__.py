"""What training minimises: each makes an `Objective` from its settings; one per file."""
