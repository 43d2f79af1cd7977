-- Where somebody signed in from lately: guesses from elsewhere do not keep them out there. `place` as in sign_in_tries.
create table sign_in_places (
    place text primary key,
    last_at timestamptz not null
);
create index sign_in_places_last_at on sign_in_places (last_at);

-- Outlives sessions, which are deleted when they are over.
alter table people add column last_seen_at timestamptz;
update people p set last_seen_at = (
    select max(s.last_seen_at) from sessions s where s.person_id = p.id and s.stage = 'open'
);

-- Whoever uses this link lost what they proved themselves by: it is void from then on.
alter table invitations add column voids boolean not null default false;
