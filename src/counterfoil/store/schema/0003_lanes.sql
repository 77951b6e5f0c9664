-- Lanes say in whose favour Runs and calls wait: 0 close-critical, 1 live, 2 calls made again, 3 replays.
alter table run add column lane bigint not null default 1;
alter table effect add column lane bigint not null default 1;
drop index run_due;
create index run_due on run (lane, due, arrival) where due is not null;
drop index effect_planned;
create index effect_planned on effect (lane, created_at, id) where state = 'planned';
-- Evidence answers the Cases that asked for it.
create index case_of_effect on case_ (effect) where effect is not null and state = 'open';
