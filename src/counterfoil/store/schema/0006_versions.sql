-- Under which topics events are made known: what any Release's Runs may wait for. A Release that waits for nothing has
-- one row of empty words, so that it is known to have been asked.
create table waited (
  release text not null,
  type text not null,
  field text not null,
  primary key (release, type, field)
);

-- Who still uses a deprecated version of an event or operation, by day since 1970.
create table version_use (
  name text not null,
  side text not null,
  who text not null,
  day bigint not null,
  count bigint not null,
  first_at bigint not null,
  last_at bigint not null,
  primary key (name, side, who, day)
);
