-- Readings of whole books. At most one of a book is under way.
create table sweep (
  id text primary key,
  system text not null,
  book text not null,
  state text not null,
  requested_at bigint not null,
  requested_by text not null,
  worker text not null,
  lease_until bigint,
  cursor text not null,
  pages bigint not null,
  listed bigint not null,
  fresh bigint not null,
  missing bigint not null,
  error text not null,
  ended_at bigint
);
create unique index sweep_reading on sweep (system, book) where state = 'reading';
create index sweep_of_book on sweep (system, book, requested_at);
-- The deliveries that a sweep under way has listed.
create table swept (
  sweep text not null,
  receipt bigint not null,
  primary key (sweep, receipt)
);
-- Deliveries that brought events that were known already: by them a sweep knows what it has listed.
create table event_repeat (
  event text not null,
  receipt bigint not null,
  primary key (event, receipt)
);
