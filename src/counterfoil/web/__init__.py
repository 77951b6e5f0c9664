"""The HTTP server: the API, the pages, and what both stand on."""
