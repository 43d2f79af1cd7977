-- Where there are anchors of the audit log, so that one that was deleted is missed.

create table audit_anchors (
    -- The machine's name and the path of the data folder.
    place text primary key,
    number bigint not null
);
