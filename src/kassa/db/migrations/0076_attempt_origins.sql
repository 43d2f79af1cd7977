-- Where an attempt to pay a link came from: a keyed hash of the network address, null where it says nothing about who it
-- was. One address can use up only its share of what a link allows.

alter table link_attempts add column origin bytea;
