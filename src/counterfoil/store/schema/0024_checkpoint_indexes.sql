-- What became known since a time is told by the versions of documents: rows keep the time at which their event was received.
drop index foil_known;
drop index observation_known;
create index document_version_known on document_version (rule, known_from) where known_to is null;
-- From the listed deliveries of a sweep to their events.
create index event_receipt on event (receipt) where receipt is not null;
create index event_repeat_receipt on event_repeat (receipt);
