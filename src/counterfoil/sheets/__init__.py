"""Tables as files for spreadsheets: CSV and XLSX with numbers as numbers, and without formulas."""
