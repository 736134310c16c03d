-- What the programs work on, beside the columns of every type; made in both databases.
create table parts (id int primary key, label text, size numeric(8,2), made timestamptz);
insert into parts values
    (1, 'bolt', 1.50, '2001-02-03 04:05:06+00'), (2, 'nut', 2.25, '2002-03-04 05:06:07.123456+00'), (3, 'größe €', null, null);
create table customers (id int primary key, city text, email text);
insert into customers values (1, 'Lisbon', 'ana.canary@example.org'), (2, 'Porto', 'rui.canary@example.org');
create table many (id int primary key, word text);
insert into many select n, 'word ' || n from generate_series(1, 500) n;
