-- Usage that was accepted, each (source, id) once for ever, with the event's bytes as they were sent; and what was
-- refused, with its reason, so that nothing is dropped in silence.

create table usage_event (
  source text not null,
  id text not null,
  type text not null,
  subscription text not null,
  meter text not null,
  at bigint not null,
  batch text not null,
  body bytea not null
);
create unique index usage_once on usage_event (source, id);

create table usage_quarantine (
  id text primary key,
  batch text not null,
  at bigint not null,
  reason text not null,
  message text not null,
  source text not null,
  event text not null,
  body bytea not null
);
create index usage_quarantine_by_time on usage_quarantine (at, id);

-- What the progress scan looks for beyond what workers do, each index holding the unfinished alone.
create index run_unwoken on run (arrival) where due is null and status in ('ready', 'waiting');
create index effect_undecided on effect (conclude_at) where state in ('unknown', 'accepted');
create index todo_aside on todo (kind, ref) where parked and wake_topic = '';
create index case_by_deadline on case_ (deadline, id) where state = 'open';

-- What the latest scan found, by kind and class, with the Case that tells of it.
create table stuck (
  kind text not null,
  about text not null,
  count bigint not null,
  since bigint not null,
  subjects text not null,
  owner text not null,
  first_at bigint not null,
  seen_at bigint not null,
  case_ text,
  primary key (kind, about)
);
