-- Who works on a Case, its tags, until when it is set aside, and the cause that it shares with others.
alter table case_ add column assignee text not null default '';
alter table case_ add column tags text not null default '[]';
alter table case_ add column snoozed_until bigint;
alter table case_ add column snooze_reason text not null default '';
alter table case_ add column cause text not null default '';
update case_ set cause = reason;
create index case_by_cause on case_ (cause, created_at, id) where state = 'open';
create index case_by_assignee on case_ (assignee, created_at, id) where state = 'open';
-- What persons write on a Case, kept with it.
create table case_comment (
  id text primary key,
  about text not null,
  person text not null,
  at bigint not null,
  text text not null
);
create index case_comment_about on case_comment (about, at, id);
