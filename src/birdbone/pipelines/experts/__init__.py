"""The experts pipeline."""
