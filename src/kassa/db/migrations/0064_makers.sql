-- Who made a key, or let a member in, is asked when the change of a wallet is confirmed.

create index acts_made on acts (store_id, subject)
    where kind in ('api_key.created', 'member.joined', 'invitation.made');
