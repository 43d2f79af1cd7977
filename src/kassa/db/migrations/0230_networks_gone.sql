-- Networks that a person said will not be followed any more: after a restore nobody waits for them to be caught up with.

create table networks_gone (
    network text primary key,
    said_at timestamptz not null
);
