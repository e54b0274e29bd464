"""Where metrics go, apart from the run folder."""
