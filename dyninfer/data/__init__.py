"""What comes in and what comes out."""
