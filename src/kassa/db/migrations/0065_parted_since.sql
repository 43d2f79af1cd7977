-- Since when a second node has held another chain: what lasts from one question to the next needs a person.

alter table second_opinions add column parted_since timestamptz;
