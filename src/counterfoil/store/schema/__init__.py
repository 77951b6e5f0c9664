"""Numbered schema files, applied in order by `store/sql/migrate`."""
