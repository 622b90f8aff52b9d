"""HTTP, retries and limits; nothing here knows what a call is."""
