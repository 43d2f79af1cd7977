-- Whether the node itself is behind its network: then nobody may be asked to pay there, while a network that only we are
-- behind on is offered (what comes meanwhile is read in its turn).

alter table networks add column node_behind boolean not null default false;
