"""Who scores: prompt, parser and scale of each judge."""
