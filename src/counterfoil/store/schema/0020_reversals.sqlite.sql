-- A reversal belongs to the match of what it reverses; its own key is kept beside that match.
alter table foil add column own_key text not null default '';
alter table document_version add column reverses text not null default '';
create index foil_reversal on foil (rule, reverses) where reverses <> '';
create index observation_reversal on observation (rule, reverses) where reverses <> '';
create index document_version_reversal on document_version (rule, reverses) where reverses <> '';
update document_version set reverses = coalesce(json_extract(cast(body as text), '$.reverses'), '')
where instr(cast(body as text), '"reverses":""') = 0;
