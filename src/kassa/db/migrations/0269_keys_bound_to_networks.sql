-- An API key may be bound to the IP networks that it is used from, in the form in which Kassa writes them; none: it is used from
-- anywhere.

alter table api_keys add column allowed_from text[] not null default '{}';
