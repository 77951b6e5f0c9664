-- Tables whose rows the store numbers itself; elsewhere SQLite's rowid is the order of arrival.

create table receipt (
  no integer primary key,
  system text not null,
  ext_id text not null,
  type text not null,
  identity text not null,
  sha256 text not null,
  door text not null,
  received_at bigint not null
);
create unique index receipt_once on receipt (system, ext_id);

create table run (
  arrival integer primary key,
  id text not null unique,
  workflow text not null,
  bkey text not null,
  generation bigint not null,
  pin text not null,
  created_at bigint not null,
  status text not null,
  direction text not null,
  state text not null,
  version bigint not null,
  inbox_n bigint not null,
  consumed bigint not null,
  due bigint,
  owner text,
  lease_until bigint,
  now bigint,
  ctx bytea not null
);
create unique index run_once on run (workflow, bkey, generation);
create index run_due on run (due, arrival) where due is not null;
create index run_by_time on run (created_at, id);
create index run_unfinished on run (status, created_at) where status in ('ready', 'waiting');
