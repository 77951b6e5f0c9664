-- Calls of Operations by consumers: each idempotency key once for ever, with the answer that it was given; and what each
-- consumer has spent of its rate, as the moment at which all of it is earned again.

create table call (
  consumer text not null,
  operation text not null,
  version bigint not null,
  key text not null,
  digest text not null,
  correlation text not null,
  run text,
  receipt bigint not null,
  holder text not null,
  until bigint not null,
  at bigint not null,
  status bigint,
  headers text not null,
  body bytea not null,
  answered_at bigint,
  primary key (consumer, operation, key)
);
create index call_of_run on call (run) where run is not null;

create table rate (
  consumer text not null,
  operation text not null,
  spent bigint not null,
  primary key (consumer, operation)
);
