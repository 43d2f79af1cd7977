-- Every minute what a key is bound to is compared with the last act that told of it.

create index acts_of_bound_keys on acts (store_id, subject, number desc) where kind = 'api_key.changed';
