-- Tables whose rows the store numbers itself, and the order of arrival that SQLite has built in.
-- Keeping a tenth of each page free lets most updates of a Run stay on their page.

create table receipt (
  no bigint generated always as identity primary key,
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
  arrival bigint generated always as identity primary key,
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
alter table todo add column rowid bigint generated always as identity;
alter table event add column rowid bigint generated always as identity;
alter table head_history add column rowid bigint generated always as identity;
alter table effect add column rowid bigint generated always as identity;
alter table foil add column rowid bigint generated always as identity;
alter table observation add column rowid bigint generated always as identity;
alter table approval add column rowid bigint generated always as identity;
alter table post add column rowid bigint generated always as identity;
alter table release add column rowid bigint generated always as identity;
alter table leaf add column rowid bigint generated always as identity;
alter table pending add column rowid bigint generated always as identity primary key;
-- Todos come and go: their order is found without reading past those set aside.
create index todo_order on todo (rowid) where not parked;
alter table run set (fillfactor = 90);
alter table effect set (fillfactor = 90);

-- The row that both sides of a match lock, so that neither misses the other. SQLite has one writer and needs none.
create table match_row (rule text not null, key text not null, primary key (rule, key));
