-- What a person decided about money without an owner: whose it is. The last decision counts.

create table assignments (
    id bigint generated always as identity primary key,
    payment_id text not null references payments,
    store_id text not null references stores,
    -- Null: the store's own income.
    customer_id text,
    decided_at timestamptz not null,
    decided_by text not null,
    foreign key (store_id, customer_id) references customers (store_id, id)
);
create index assignments_payment on assignments (payment_id, id desc);
create trigger assignments_append_only before update or delete on assignments
    for each row execute function refuse_change();
create trigger assignments_no_truncate before truncate on assignments execute function refuse_change();

-- The last of them: "income", or a customer's id.
alter table payments add column assigned_to text;
