"""Rate limits: a token bucket, the hierarchy of buckets that a client keeps, and a rate that finds itself."""
