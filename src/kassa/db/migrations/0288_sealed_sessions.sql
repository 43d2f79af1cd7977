-- The session of somebody is sealed when it begins. One that an earlier version began has none: its person signs in again.
alter table sessions add column seal bytea;
