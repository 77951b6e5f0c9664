"""Campaign of random pairs of JSON Schemas, judged by brute force over a bounded set of instances."""
