"""The nouns of the product and their rules: records, allowed moves, money, ids, JSON and time. Standard library and msgspec only."""
