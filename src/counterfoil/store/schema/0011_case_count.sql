-- How often the cause of a Case occurred: a later occurrence raises the count of the open Case instead of opening another.

alter table case_ add column count bigint not null default 1;
