-- How often was asked in each window of time, of all processes together: so that limits outlive a restart.

create table request_counts (
    kind text not null,
    subject text not null,
    -- The window's first second.
    start timestamptz not null,
    count bigint not null,
    primary key (kind, subject, start)
);
create index request_counts_start on request_counts (start);
