-- Words of the names and numbers of objects, near ones of words, and the largest amount of each document.
create table head_word (
  object text not null,
  key text not null,
  word text collate "C" not null,
  primary key (object, key, word)
);
create index head_word_of on head_word (word, object, key);
create table word_variant (variant text not null, word text not null);
create index word_variant_of on word_variant (variant, word);

alter table foil add column amount_minor bigint;
alter table observation add column amount_minor bigint;
update foil set amount_minor = (
  select max(abs(greatest((j.value ->> 'minor')::bigint, -9223372036854775807))) from json_each(foil.legs::json) j where json_typeof(j.value) = 'object'
);
update observation set amount_minor = (
  select max(abs(greatest((j.value ->> 'minor')::bigint, -9223372036854775807))) from json_each(observation.legs::json) j where json_typeof(j.value) = 'object'
);
create index foil_of_amount on foil (amount_minor, created_at, id);
create index observation_of_amount on observation (amount_minor, since, id) where state in ('unmatched', 'over');
create index approval_of_amount on approval (amount, created_at, id);
create index case_of_amount on case_ (exposure, created_at, id) where length(exposure) <= 100;
