-- Every minute keys, members and receivers are compared with the last acts that told of them.

create index acts_of_records on acts (store_id, subject, number desc)
    where kind in ('api_key.created', 'member.joined', 'member.changed', 'webhook.created', 'webhook.changed');
