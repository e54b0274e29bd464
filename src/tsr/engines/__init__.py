"""What generates: one face, several back ends."""
