-- A reorganisation wrote down the height below it as final on networks that had called nothing so: their next deeper one
-- would halt them, and payments that wait for a final block would settle there.

update networks set final_height = null where final_at is null;
