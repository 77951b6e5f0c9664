"""Values of the domain: money, time, ids, events, Runs, effects, foils, Cases, audit leaves, each with its table of allowed moves."""
