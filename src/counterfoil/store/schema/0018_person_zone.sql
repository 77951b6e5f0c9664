-- Time zone of a person, from the people file.
alter table person add column zone text not null default '';
