-- What is added to the sums of the books is chosen by transactions, not by clocks: up to `next_entry`, once every transaction
-- that ran when it was the newest (those below `next_before`) has ended.
alter table book_sums_until add column next_entry bigint, add column next_before xid8;
