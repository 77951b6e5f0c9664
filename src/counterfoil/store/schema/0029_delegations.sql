-- Who decides approvals for whom, from when to when and up to which amount; and on whose behalf a vote was cast.
create table delegation (
  id text primary key,
  giver text not null,
  receiver text not null,
  starts_at bigint not null,
  ends_at bigint not null,
  up_to text,
  reason text not null,
  created_at bigint not null,
  ended_at bigint
);
create index delegation_by_giver on delegation (giver, ends_at);
create index delegation_by_receiver on delegation (receiver, ends_at);
alter table vote add column behalf text not null default '';
