-- Names of a person in other systems, and the persons who sent what an approval rests on.
alter table person add column aliases text not null default '{}';
alter table receipt add column sender text not null default '';
alter table event add column senders text not null default '[]';
alter table approval add column senders text not null default '[]';
