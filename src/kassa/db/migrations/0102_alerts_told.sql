-- What the operator's own receiver was told of each alert. Of those that are closed already nothing is sent any more.

alter table alerts
    add column told_opened_at timestamptz,
    add column told_closed_at timestamptz,
    -- When to try next, and how often it was tried; while it is being sent, when to assume that the sender died.
    add column tell_at timestamptz not null default '-infinity',
    add column tell_attempts integer not null default 0;
update alerts set told_opened_at = closed_at, told_closed_at = closed_at where closed_at is not null;
create index alerts_untold on alerts (id) where told_opened_at is null or (closed_at is not null and told_closed_at is null);
