-- Texts by which people search: numbers and names of objects, and the ids of the objects that they name.
create table head_text (
  object text not null,
  key text not null,
  field text not null,
  value text not null,
  primary key (object, key, field)
);
create index head_text_value on head_text (value, object, key);
create index observation_of_document on observation (document);

insert into head_text (object, key, field, value)
select h.object, h.key, j.key, lower(j.value)
from head h, json_each(cast(h.state as text)) j
where j.type = 'text' and j.value <> '' and length(j.value) <= 200
  and (j.key in ('number', 'legal_name', 'name', 'title') or substr(j.key, -3) = '_id');
