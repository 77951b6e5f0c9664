-- The hash that each leaf had when it was sealed. A later change of the leaf is located by it.
alter table tree add column hash bytea;
