-- The legal entity of Runs, of objects, and of what persons may see. Rows without one were written before the company
-- declared its legal entities, and belong to the default one.
alter table run add column entity text not null default '';
alter table head add column entity text not null default '';
alter table head_history add column entity text not null default '';
alter table approval add column entity text not null default '';
alter table person add column entities text not null default '[]';
update run set entity = coalesce((
  select event.legal_entity from inbox join event on event.id = inbox.ref where inbox.run = run.id and inbox.seq = 1
), '');
update approval set entity = coalesce((select entity from run where run.id = approval.run), '');
update head set entity = coalesce((select legal_entity from event where event.id = head.event), '');
update head_history set entity = coalesce((select legal_entity from event where event.id = head_history.event), '');
