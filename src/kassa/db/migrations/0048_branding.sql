-- How a store looks to its payers, and which sites may show its checkout inside their own pages.

alter table stores
    add column colour text check (colour ~ '^#[0-9a-f]{6}$'),
    -- A raster image that was taken apart and put together again by us; read by its hash alone.
    add column logo bytea check (octet_length(logo) <= 16384),
    add column logo_hash text,
    add column frame_ancestors text[] not null default '{}',
    add constraint stores_logo_with_its_hash check ((logo is null) = (logo_hash is null));

create index stores_logo_hash on stores (logo_hash) where logo_hash is not null;
