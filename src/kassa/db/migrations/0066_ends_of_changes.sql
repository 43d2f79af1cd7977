-- Whether the change of a wallet ended already is asked of the audit log before it is applied.

create index acts_of_changes on acts (subject)
    where kind in ('wallet.change_asked', 'wallet.change_cancelled', 'wallet.changed');
