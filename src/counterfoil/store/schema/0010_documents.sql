-- One row for each document of the two systems, with its newest version; every version stands in document_version.
alter table foil add column document text not null default '';
alter table foil add column version bigint not null default 0;
alter table foil add column terms text not null default '{}';
alter table foil add column entity text not null default '';
alter table foil add column effective text not null default '';
alter table foil add column stands boolean not null default true;
alter table foil add column stood boolean not null default true;
alter table foil add column provisional boolean not null default false;
alter table foil add column reverses text not null default '';
alter table foil add column names text not null default '[]';
alter table foil add column residual text not null default '{}';
alter table foil add column partners text not null default '[]';
alter table foil add column known_from bigint not null default 0;
update foil set
  document = key,
  known_from = created_at,
  provisional = (state = 'provisional'),
  stands = (state not in ('void', 'reversed')),
  stood = (state not in ('void', 'provisional')),
  terms = '{"tolerance":' || tolerance || ',"shape":"' || case when exact then '1:1' else 'n:m' end || '"}';
-- A call and the event of what it did wrote a row each: the one of the call stays for the document.
delete from foil where exists (
  select 1 from foil other
  where other.rule = foil.rule and other.document = foil.document and other.id <> foil.id
    and (other.stands, other.effect is not null, other.created_at, other.id)
      > (foil.stands, foil.effect is not null, foil.created_at, foil.id)
);
alter table foil drop column tolerance;
alter table foil drop column exact;
create unique index foil_document on foil (rule, document);
create index foil_of_cause on foil (cause);
drop index foil_past_due;
create index foil_past_due on foil (due, id) where state in ('provisional', 'open', 'partly');

alter table observation add column document text not null default '';
alter table observation add column system text not null default '';
alter table observation add column terms text not null default '{}';
alter table observation add column entity text not null default '';
alter table observation add column effective text not null default '';
alter table observation add column stands boolean not null default true;
alter table observation add column stood boolean not null default true;
alter table observation add column reverses text not null default '';
alter table observation add column names text not null default '[]';
alter table observation add column state text not null default 'unmatched';
alter table observation add column foil text;
alter table observation add column own_key text not null default '';
alter table observation add column owner text not null default '';
alter table observation add column case_at bigint;
alter table observation add column since bigint not null default 0;
update observation set document = subject, since = at;
delete from observation where exists (
  select 1 from observation other
  where other.rule = observation.rule and other.document = observation.document and other.id <> observation.id
    and (other.version, other.id) > (observation.version, observation.id)
);
alter table observation drop column subject;
create unique index observation_document on observation (rule, document);
create index observation_of_event on observation (event);
create index observation_case_due on observation (case_at) where case_at is not null and state in ('unmatched', 'over');

create table document_version (
  side text not null,
  rule text not null,
  document text not null,
  key text not null,
  version bigint not null,
  known_from bigint not null,
  known_to bigint,
  stood boolean not null,
  body bytea not null
);
create index document_version_of on document_version (rule, document, side);
create index document_version_of_key on document_version (rule, key);
create table pairing (
  id text primary key,
  rule text not null,
  foil text not null,
  observation text not null,
  legs text not null,
  person text not null,
  note text not null,
  at bigint not null,
  ended_at bigint,
  ended_by text not null default ''
);
create index pairing_of_foil on pairing (foil) where ended_at is null;
create index pairing_of_observation on pairing (observation) where ended_at is null;
create table match_basis (rule text primary key, digest text not null);
create table waiver (
  id text primary key,
  foil text not null,
  rule text not null,
  residual text not null,
  content text not null,
  money text,
  entity text not null,
  period text not null,
  person text not null,
  note text not null,
  at bigint not null,
  ended_at bigint
);
create index waiver_of_foil on waiver (foil) where ended_at is null;
-- What was waived before stays waived: with the whole of its largest leg, since no residual was kept.
alter table case_ add column observation text;
create index case_of_observation on case_ (observation) where observation is not null and state = 'open';
