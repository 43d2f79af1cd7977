-- What pages load, by names that hold a hash of it. While two versions run, a page of one may ask a process of the other.
create table page_files (
    name text primary key check (length(name) <= 100),
    body text not null,
    seal bytea not null,
    left_at timestamptz  -- since when a version runs that has it no more; null: the last that started has it
);
