-- Lists in another order than the newest first: the next page continues at a value and an id.
create index foil_in_order_of_due on foil (due, id);
create index foil_in_order_of_amount on foil (coalesce(amount_minor, 0), id);
create index observation_in_order_of_amount on observation (coalesce(amount_minor, 0), id) where state in ('unmatched', 'over');
create index case_in_order_of_deadline on case_ (deadline, id);
create index approval_in_order_of_expiry on approval (expires, id);
