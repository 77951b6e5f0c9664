-- Mails of notices to persons, one by one or in a daily digest, and what each person wants by mail.
alter table delivery add column person text not null default '';
alter table delivery add column notices text not null default '[]';
create table notice_preference (
  person text primary key,
  approvals text not null,
  cases text not null,
  deadlines text not null,
  quiet_from bigint not null,
  quiet_until bigint not null,
  digest_at bigint not null,
  zone text not null,
  revision bigint not null
);
