"""Finished cells on disk, and who works on the others."""
