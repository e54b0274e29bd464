"""Looking at a sweep from outside: the store's own records, and what the cluster says."""
