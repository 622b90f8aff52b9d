"""HTTP, retries and limits; nothing here knows about calls."""
