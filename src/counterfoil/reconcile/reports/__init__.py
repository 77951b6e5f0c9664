"""Reports of a comparison: text, XLSX, one printable HTML page, and a drafted reconciliation."""
