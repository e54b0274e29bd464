"""How pretrained models come into the store."""
