-- People: who may sign in to the dashboard, what they prove it by, and what they may do in which store.

create table people (
    id text primary key,
    -- What they sign in with, in lower case.
    email text not null,
    name text not null default '',
    password_hash text,
    totp_secret text,
    -- The last time step whose code was used: no code counts twice.
    totp_step bigint not null default 0,
    created_at timestamptz not null,
    constraint people_email unique (email)
);

create table members (
    store_id text not null references stores,
    person_id text not null references people,
    role text not null check (role in ('owner', 'admin', 'accountant', 'support', 'viewer')),
    added_at timestamptz not null,
    constraint members_key primary key (store_id, person_id)
);
create index members_person on members (person_id);

-- A link that lets somebody in once. With a store it makes them a member; without one it lets a known person in again.
create table invitations (
    id text primary key,
    hash bytea not null,
    email text not null,
    store_id text references stores,
    role text check (role in ('owner', 'admin', 'accountant', 'support', 'viewer')),
    made_by text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    used_at timestamptz,
    revoked_at timestamptz,
    constraint invitations_hash unique (hash),
    constraint invitations_role check ((store_id is null) = (role is null))
);
create index invitations_store on invitations (store_id, id desc);

create table passkeys (
    id text primary key,
    person_id text not null references people,
    -- As the authenticator names it (base64url), and its public key (COSE).
    credential text not null,
    public_key bytea not null,
    sign_count bigint not null,
    name text not null,
    created_at timestamptz not null,
    last_used_at timestamptz,
    constraint passkeys_credential unique (credential)
);
create index passkeys_person on passkeys (person_id);

create table recovery_codes (
    person_id text not null references people,
    hash bytea not null,
    used_at timestamptz,
    primary key (person_id, hash)
);

-- Only the hash of what the browser holds. `stage`: a code is still asked for, or a second factor must be set up first,
-- or the session is open.
create table sessions (
    id text primary key,
    hash bytea not null,
    person_id text references people,
    stage text not null check (stage in ('passkey', 'code', 'enrol', 'open')),
    -- What a passkey must sign, while one is asked for.
    challenge bytea,
    created_at timestamptz not null,
    last_seen_at timestamptz not null,
    expires_at timestamptz not null,
    -- When the person last proved who they are.
    proven_at timestamptz,
    address text not null,
    agent text not null,
    constraint sessions_hash unique (hash),
    constraint sessions_person check (stage = 'passkey' or person_id is not null)
);
create index sessions_person_id on sessions (person_id);
create index sessions_expires_at on sessions (expires_at);

-- Tries at secrets that can be guessed, by who tried and by whose account it was.
create table sign_in_tries (
    subject text primary key,
    tries integer not null,
    last_at timestamptz not null,
    -- No further try before this moment.
    free_at timestamptz not null
);
create index sign_in_tries_last_at on sign_in_tries (last_at);
