-- What a payer was given last is found without reading the attempts of all others.
create index link_attempts_payer on link_attempts (link_id, payer, id desc);
