-- Recorded traffic is read from deliveries forward: to the Runs that an event began, to what an admission fetched.
create index inbox_begun_by on inbox (ref) where kind = 'start' and seq = 1;
create index receipt_fetched on receipt (type) where door = 'fetch';
