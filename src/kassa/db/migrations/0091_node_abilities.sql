-- What a network's node was found to show of what contracts move ('' where nothing does), and the best it ever showed; by
-- how much its clock differs from ours, in seconds, and when that was read.
alter table networks add column internal text, add column internal_best text,
    add column clock_skew_seconds integer, add column clock_read_at timestamptz;
