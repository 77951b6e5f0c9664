-- Refused attempts, counted by person and action: a leaf is written within a limit only.
create table refusal (
  person text not null,
  action text not null,
  since bigint not null,
  recent bigint not null,
  total bigint not null,
  primary key (person, action)
);
