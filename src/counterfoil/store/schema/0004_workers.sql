-- Which workers are alive, and how the accounts of outside systems are shared among them.

create table worker (id text primary key, until bigint not null, at bigint not null);

-- The row that everybody locks who shares the account. Quotas never add up to more than cap.
create table account (account text primary key, cap bigint not null, aim bigint not null, tuned_at bigint);

create table quota (
  account text not null,
  worker text not null,
  n bigint not null,
  wanted bigint not null,
  cap bigint not null,
  until bigint not null,
  primary key (account, worker)
);
create index quota_of_worker on quota (worker);
