-- What two systems differ by at a cut-off, prepared and signed. One of each state but the last per reconciliation, entity
-- and cut-off.
create table book_checkpoint (
  id text primary key,
  rule text not null,
  entity text not null,
  at text not null,
  known bigint not null,
  digest text not null,
  content bytea not null,
  state text not null,
  prepared_at bigint not null,
  prepared_by text not null,
  signed_at bigint,
  signed_by text not null,
  note text not null,
  reported bigint not null,
  change_case text not null
);
create unique index book_checkpoint_prepared on book_checkpoint (rule, entity, at) where state = 'prepared';
create unique index book_checkpoint_signed on book_checkpoint (rule, entity, at) where state = 'signed';
-- Documents that were known since a time, for what has changed in what was signed.
create index foil_known on foil (rule, known_from);
create index observation_known on observation (rule, at);
