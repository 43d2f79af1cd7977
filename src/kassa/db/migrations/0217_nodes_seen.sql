-- What a network's node last said of itself, and when it last pushed a hint by itself: for people to look at, nothing follows from it.
alter table networks add column node_name text, add column node_peers integer, add column node_fee text,
    add column node_read_at timestamptz, add column pushed_at timestamptz;
