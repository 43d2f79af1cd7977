-- What reached our addresses in each asset by the entries of days that are over, so that detectors add up only what came since.
-- A day is added once it has been over for a day: no transaction that books lives so long. Derived from the books, which decide.
create table holdings (
    asset text primary key,
    units numeric(78,0) not null,
    entries bigint not null
);
create table holdings_until (
    one boolean primary key default true check (one),
    until timestamptz -- null: nothing was added up yet
);
insert into holdings_until default values;
create index entries_booked on entries (booked_at);
