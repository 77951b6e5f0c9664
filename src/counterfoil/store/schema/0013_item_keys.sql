-- Items by their key, whatever their reconciliation: questions about a past time ask for all matches with one key.
create index observation_of_key on observation (key);
create index observation_own_key on observation (own_key) where own_key <> '';
