-- Tables that SQLite and PostgreSQL hold alike. Times are microseconds since 1970 UTC; lists and maps are JSON text;
-- bodies are bytes in the stored form. `rowid` (SQLite's own, added on PostgreSQL in 0002) is the order of arrival.

create table receipt_body (no bigint primary key, headers text not null, body bytea not null);

create table todo (
  kind text not null,
  ref text not null,
  parked boolean not null,
  wake_topic text not null,
  primary key (kind, ref)
);
create index todo_woken_by on todo (wake_topic) where wake_topic <> '';

create table event (
  id text primary key,
  type text not null,
  system text not null,
  object text not null,
  key text not null,
  version bigint not null,
  data bytea not null,
  legal_entity text not null,
  occurred_at bigint not null,
  effective_at bigint not null,
  received_at bigint not null,
  receipt bigint,
  cause text not null,
  correlation text not null
);
create index event_of_object on event (object, key);
create index event_by_time on event (received_at, id);

-- What an object is now, and every state it was in: heads never move back, history keeps late comers too.
create table head (
  object text not null,
  key text not null,
  version bigint not null,
  state bytea not null,
  system text not null,
  effective_at bigint not null,
  recorded_at bigint not null,
  event text not null,
  versions bytea not null,
  primary key (object, key)
);
create table head_history (
  object text not null,
  key text not null,
  version bigint not null,
  state bytea not null,
  system text not null,
  effective_at bigint not null,
  recorded_at bigint not null,
  event text not null,
  versions bytea not null
);
create index head_history_of on head_history (object, key, effective_at);

create table link (
  object text not null,
  canonical text not null,
  system text not null,
  account text not null,
  ext_id text not null,
  ext_type text not null,
  legal_entity text not null,
  status text not null,
  established_by text not null,
  valid_from bigint not null,
  valid_to bigint
);
create unique index link_active on link (object, system, account, ext_id) where status <> 'superseded';
create index link_of_canonical on link (object, canonical, system);

create table inbox (
  run text not null,
  seq bigint not null,
  kind text not null,
  ref text not null,
  at bigint not null,
  body bytea not null,
  primary key (run, seq)
);
create unique index inbox_once on inbox (run, kind, ref);

create table wait (topic text not null, run text not null, since bigint, primary key (topic, run));
create index wait_of_run on wait (run);
create table post (
  topic text not null,
  event text not null,
  at bigint not null,
  body bytea not null,
  primary key (topic, event)
);
create index post_by_time on post (topic, at);

-- One holder per serial: the primary key is the invariant.
create table hold (serial text primary key, run text not null);
create index hold_of_run on hold (run);
create table serial_wait (
  serial text not null,
  run text not null,
  arrival bigint not null,
  primary key (serial, run)
);
create index serial_wait_order on serial_wait (serial, arrival);
create index serial_wait_of_run on serial_wait (run);

create table effect (
  id text primary key,
  run text not null,
  path text not null,
  item text not null,
  gen bigint not null,
  undoes text,
  operation text not null,
  system text not null,
  repeat text not null,
  state text not null,
  attempt bigint not null,
  worker text,
  send_by bigint,
  call_until bigint,
  conclude_at bigint,
  look_at bigint,
  looks bigint not null,
  request bytea not null,
  input bytea not null,
  approvals text not null,
  result bytea,
  error_class text,
  error text not null,
  created_at bigint not null,
  ended_at bigint
);
create unique index effect_once on effect (run, path, item, gen);
-- Two generations of one step are never on their way at once. Evidence (confirmed) is never refused by an index.
create unique index effect_in_flight on effect (run, path, item)
  where state in ('sending', 'unknown', 'accepted');
create index effect_planned on effect (created_at, id) where state = 'planned';
create index effect_sending on effect (call_until, id) where state = 'sending';
create index effect_to_look_up on effect (look_at, id) where look_at is not null;
create index effect_by_time on effect (created_at, id);

create table foil (
  id text primary key,
  rule text not null,
  key text not null,
  object text not null,
  left_system text not null,
  right_system text not null,
  legs text not null,
  due bigint not null,
  state text not null,
  tolerance bigint not null,
  exact boolean not null,
  run text,
  effect text,
  cause text not null,
  owner text not null,
  reason text not null,
  created_at bigint not null,
  settled_at bigint
);
create index foil_of_match on foil (rule, key);
create index foil_of_run on foil (run) where run is not null;
create index foil_of_effect on foil (effect) where effect is not null;
create index foil_past_due on foil (due, id) where state in ('open', 'partly');
create index foil_by_time on foil (created_at, id);
create table observation (
  id text primary key,
  rule text not null,
  key text not null,
  subject text not null,
  version bigint not null,
  legs text not null,
  event text not null,
  at bigint not null
);
create index observation_of_match on observation (rule, key);
create table allocation (
  rule text not null,
  key text not null,
  foil text not null,
  observation text not null,
  leg text not null,
  minor bigint not null,
  currency text not null
);
create index allocation_of_match on allocation (rule, key);

create table guard (
  scope text not null,
  key text not null,
  used bigint not null,
  most bigint,
  primary key (scope, key)
);
create table reservation (
  scope text not null,
  key text not null,
  run text not null,
  path text not null,
  amount bigint not null,
  live boolean not null,
  primary key (scope, key, run, path)
);
create index reservation_of_run on reservation (run, path);

create table approval (
  id text primary key,
  run text not null,
  path text not null,
  policy text not null,
  subject text not null,
  covers bytea not null,
  amount text,
  roles text not null,
  quorum bigint not null,
  requester text not null,
  state text not null,
  expires bigint not null,
  created_at bigint not null,
  automatic boolean not null
);
create index approval_of_run on approval (run);
create index approval_by_time on approval (created_at, id);
create table vote (
  approval text not null references approval (id),
  person text not null,
  approve boolean not null,
  comment text not null,
  at bigint not null,
  primary key (approval, person)
);

create table case_ (
  id text primary key,
  reason text not null,
  message text not null,
  owner text not null,
  deadline bigint not null,
  next_action text not null,
  choices text not null,
  state text not null,
  run text,
  path text,
  receipt bigint,
  event text,
  effect text,
  foil text,
  exposure text not null,
  created_at bigint not null,
  resolved_at bigint,
  resolved_by text,
  choice text,
  note text not null
);
create index case_of_run on case_ (run) where run is not null;
create index case_of_foil on case_ (foil) where foil is not null;
create index case_of_receipt on case_ (receipt) where receipt is not null and state = 'open';
create index case_of_event on case_ (event) where event is not null and state = 'open';
create index case_open on case_ (created_at, id) where state = 'open';
create index case_by_time on case_ (created_at, id);

create table person (
  id text primary key,
  name text not null,
  email text not null,
  roles text not null,
  secret text not null,
  active boolean not null
);
create table token (
  digest text primary key,
  person text not null,
  kind text not null,
  expires bigint not null
);
create table feed_cursor (
  system text not null,
  feed text not null,
  value text not null,
  primary key (system, feed)
);
create table release (digest text primary key, body bytea not null, at bigint not null);
create table present_release (one bigint primary key check (one = 1), digest text not null);

-- Leaves are written in the transaction that they witness; a sealer gives them their place in the tree later.
create table leaf (
  id text primary key,
  kind text not null,
  subject text not null,
  run text,
  version bigint,
  actor text not null,
  at bigint not null,
  body bytea not null
);
create index leaf_of_run on leaf (run, at) where run is not null;
create unique index leaf_of_turn on leaf (run, version) where version is not null;
create table pending (leaf text not null, hash bytea not null);
create table tree (idx bigint primary key, leaf text not null);
create unique index tree_of_leaf on tree (leaf);
create table tree_edge (one bigint primary key check (one = 1), size bigint not null, nodes text not null);
insert into tree_edge values (1, 0, '[]');
create table checkpoint (size bigint primary key, root bytea not null, at bigint not null, text text not null);
