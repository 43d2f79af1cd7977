-- Which request or look wrote an event, so that the log of whoever delivers it says the same.

alter table events add column correlation text not null default '';
