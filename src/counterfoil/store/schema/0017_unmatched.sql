-- Unmatched items and surplus, oldest first: the list and the overview read these rows alone.
create index observation_unmatched on observation (since, id) where state in ('unmatched', 'over');
