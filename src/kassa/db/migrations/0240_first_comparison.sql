-- Since when the books of a network are to be compared: begun_at moves at every attempt, also where all of them fail.

alter table reconciliations add column first_at timestamptz not null default now();
