-- What reached our addresses in each asset, up to an entry, so that detectors add up only what came since. In the place of
-- `holdings`, which chose what is over by the clock: what is added is chosen by transactions, as for `book_sums`. Derived from the
-- books, which decide.
drop table holdings, holdings_until;
drop index entries_booked;
create table held_sums (
    asset text primary key,
    units numeric(78,0) not null,
    entries bigint not null
);
create table held_sums_until (
    one boolean primary key default true check (one),
    entry bigint not null, -- this one is in the sums, and all before it
    next_entry bigint,
    next_before xid8
);
insert into held_sums_until values (true, -9223372036854775808);
