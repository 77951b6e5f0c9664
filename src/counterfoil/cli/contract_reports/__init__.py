"""Reports of a comparison of contracts: text, Markdown, JSON, annotations of a workflow, and JUnit."""
