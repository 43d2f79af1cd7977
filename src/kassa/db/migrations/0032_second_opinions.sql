-- What a second node last said of each network that has one, and when which detector last looked.

create table second_opinions (
    network text primary key,
    asked_at timestamptz not null,
    -- When it last answered; null: never yet.
    answered_at timestamptz,
    -- Since when it has not answered; null: it does.
    silent_since timestamptz,
    fault text not null default '',
    -- It answers, and cannot be a node of this network.
    refused boolean not null default false,
    our_height bigint,
    their_height bigint,
    -- The block that was compared, and from which height on the chains part.
    height bigint,
    ours text,
    theirs text,
    parted_at bigint
);

create table detectors (
    name text primary key,
    every_seconds integer not null,
    begun_at timestamptz not null,
    -- Of the last run that came to an end.
    ended_at timestamptz,
    findings integer
);
