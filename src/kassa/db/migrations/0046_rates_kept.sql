-- How the rate of a deposit or a spend came about is kept like that of an option, and rates that jump raise an alarm.

alter table payments add column book_rate_at timestamptz, add column book_rate_method json;

alter table spends
    add column rate_source text,
    add column rate_at timestamptz,
    add column rate_method json;

alter table rate_alarms drop constraint rate_alarms_kind_check, add constraint rate_alarms_kind_check check (kind in (
    'source_failed', 'answer_refused', 'quote_dropped', 'rate_ageing', 'rate_jumped', 'depegged', 'no_rate'));
