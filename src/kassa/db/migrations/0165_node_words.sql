-- What a network's node warns of, and whether it is older than the rules of its chain: as last read, '' where nothing.
alter table networks add column node_warning text, add column node_outdated boolean;
