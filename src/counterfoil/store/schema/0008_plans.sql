-- Plans of changes, and the history of what was in force. An approval of a plan has the plan's digest as its run.

create table plan (
  digest text primary key,
  base text not null,
  revision text not null,
  requester text not null,
  approvals text not null,
  round bigint not null,
  state text not null,
  body bytea not null,
  created_at bigint not null,
  expires bigint not null,
  model bytea not null
);
create index plan_open on plan (expires) where state = 'open';
create index plan_by_time on plan (created_at, digest);

create table release_step (
  no bigint primary key,
  digest text not null,
  base text,
  plan text,
  at bigint not null,
  requester text not null,
  applied_by text not null,
  approvers text not null,
  reason text not null,
  emergency boolean not null
);
create index release_step_of_digest on release_step (digest, no);

-- A store that had a Release before there was a history begins it with the one in force.
insert into release_step (no, digest, base, plan, at, requester, applied_by, approvers, reason, emergency)
select 1, p.digest, null, null, r.at, '', '', '[]', 'in force before changes were recorded', false
from present_release p join release r on r.digest = p.digest;

