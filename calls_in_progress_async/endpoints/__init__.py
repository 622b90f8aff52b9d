"""One thin module an endpoint: a request class, its wire request, and the reading of its response."""
