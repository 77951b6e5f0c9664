-- Todos to be done are counted and found without reading past those set aside; an index of SQLite ends in the rowid.
create index todo_order on todo (parked) where not parked;
