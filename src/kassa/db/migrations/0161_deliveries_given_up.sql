-- What was given up is listed without reading what arrived.

create index deliveries_given_up on deliveries (store_id, id desc) where state = 'failed';
