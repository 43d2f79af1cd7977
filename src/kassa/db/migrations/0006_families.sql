-- Networks of other families: several of them share the addresses of one wallet, assets are contracts whose code can
-- change, and some call their blocks final.

-- A keychain belongs to a space: the networks in which its addresses are the same (for Bitcoin the network alone). It
-- has one counter there, so that an index means the same invoice on all of them.
alter table keychains rename column network to space;
create or replace function keep_index_growing() returns trigger language plpgsql as $$
begin
    if new.next_index < old.next_index or new.descriptor <> old.descriptor or new.space <> old.space then
        raise exception 'a keychain keeps its descriptor and its index never falls';
    end if;
    return new;
end $$;
alter table addresses drop constraint addresses_index;
alter table addresses add constraint addresses_index unique (keychain_id, index, network);

-- Up to which height the network called its blocks final, and since when that height has stood.
alter table networks add column final_height bigint, add column final_at timestamptz;
-- Whether the payment settles only in a block that is final.
alter table payments add column needs_final boolean not null default false;

-- What a token's contract looked like when nobody doubted it, and the doubt there is. Frozen assets are not offered, and
-- nothing in them settles, until an operator decides.
create table contracts (
    asset text primary key,
    network text not null references networks,
    code text,
    frozen_for text
);
create index contracts_frozen on contracts (network) where frozen_for is not null;
