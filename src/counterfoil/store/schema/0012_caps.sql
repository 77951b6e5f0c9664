-- Caps across matches: the matches whose totals a document uses up, and an index of the documents that ever did.
alter table foil add column within text not null default '[]';
alter table foil add column excess text not null default '{}';

create table match_user (
  rule text not null,
  key text not null,
  user_rule text not null,
  document text not null,
  primary key (rule, key, user_rule, document)
);
create index match_user_of_document on match_user (user_rule, document);
