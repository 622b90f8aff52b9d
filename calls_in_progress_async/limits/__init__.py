"""Rate limits: a token bucket, the hierarchy of buckets kept by a client, and an adaptive rate."""
