"""The methods: one short file each."""
