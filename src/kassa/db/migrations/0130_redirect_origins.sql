-- The sites to which payers may be led back: none named means any.

alter table stores add column redirect_origins text[] not null default '{}';
