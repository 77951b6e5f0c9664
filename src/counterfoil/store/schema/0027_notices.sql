-- Notices of persons. A new Case or approval has no mark; the worker that writes its notices sets it.
alter table case_ add column noticed boolean not null default false;
alter table case_ add column deadline_noticed boolean not null default false;
alter table approval add column noticed boolean not null default false;
update case_ set noticed = true, deadline_noticed = true;
update approval set noticed = true;
create index case_unnoticed on case_ (created_at, id) where not noticed;
create index case_deadline_unnoticed on case_ (deadline, id) where state = 'open' and not deadline_noticed;
create index approval_unnoticed on approval (created_at, id) where not noticed;
create table notice (
  id text primary key,
  person text not null,
  kind text not null,
  cause text not null,
  entity text not null,
  subject text not null,
  reason text not null,
  document text not null,
  amounts text not null,
  count bigint not null,
  due bigint not null,
  at bigint not null,
  round bigint not null,
  round_at bigint not null,
  read_at bigint
);
create index notice_of_person on notice (person, at, id);
create index notice_unread on notice (person, at, id) where read_at is null;
-- Unread notices of each person, kept by the transitions that write and read notices.
create table notice_count (
  person text not null,
  kind text not null,
  entity text not null,
  unread bigint not null,
  primary key (person, kind, entity)
);
-- Notices sent over channels: planned with the notice, claimed before the call.
create table delivery (
  id text primary key,
  channel text not null,
  notice text not null,
  round bigint not null,
  state text not null,
  attempts bigint not null,
  next_at bigint not null,
  send_by bigint not null,
  created_at bigint not null,
  ended_at bigint,
  body bytea not null,
  error text not null
);
create index delivery_due on delivery (next_at, id) where state in ('planned', 'sending');
