-- One of everything psql and pg_dump describe; classified columns are email, phone and address.
create schema shop;
comment on schema shop is 'what the programs look at';
set search_path = shop;
create role clerk;
create type state as enum ('new', 'paid', 'sent');
create type parcel as (width int, label text);
create type span as range (subtype = int);
create domain price as numeric(8, 2) default 0 check (value >= 0);
comment on domain price is 'never negative';
create sequence tickets increment 5 start 100;
create collation plain from "C";
create table customers (
    id int generated always as identity primary key,
    city text not null default 'Lisbon',
    email varchar(60) unique,
    phone text,
    address text,
    paid price,
    seen timestamptz,
    constraint paid_little check (paid < 100000)
);
comment on table customers is 'people';
comment on column customers.email is 'where they read';
create table parts (
    id serial primary key, label text collate plain, tags text[], size parcel, fits span, doubled int generated always as (2 * 21) stored
) with (fillfactor = 80);
create table orders (
    id int, customer int references customers (id) on delete cascade, placed date not null, state state default 'new'
) partition by range (placed);
create table orders_old partition of orders for values from (minvalue) to ('2020-01-01');
create table orders_new partition of orders default;
create table notes (parent text) ;
create table long_notes (body text) inherits (notes);
create unlogged table scratch (n int);
create index customers_city on customers (lower(city)) where id > 0;
create index orders_placed on orders (placed desc nulls last) include (state);
create statistics customers_both (ndistinct) on city, paid from customers;
create view buyers as select c.id, c.email, count(o.id) as orders from customers c left join orders o on o.customer = c.id group by c.id;
create view labels with (security_barrier) as select label from parts where id > 0 with check option;
create materialized view cities as select city, count(*) as people from customers group by city;
create function doubled(n int default 1) returns int language sql immutable as 'select n * 2';
create function contact(wanted int) returns text language sql stable security definer as 'select email from shop.customers where id = wanted';
create function stamp() returns trigger language plpgsql as $$ begin new.seen := now(); return new; end $$;
create procedure tidy() language sql as 'delete from shop.scratch';
create aggregate total (int) (sfunc = int4pl, stype = int, initcond = '0');
create operator ### (leftarg = int, rightarg = int, function = int4pl);
create function as_parcel(int) returns parcel language sql immutable as $$ select row($1, 'n')::shop.parcel $$;
create cast (int as parcel) with function as_parcel(int);
create trigger stamped before update on customers for each row execute function stamp();
create rule quiet as on delete to scratch do also nothing;
alter table customers enable row level security;
create policy own on customers for select to clerk using (city = 'Lisbon');
grant select on customers to clerk;
grant select (id, label), update (label) on parts to clerk;
alter default privileges in schema shop grant select on tables to clerk;
create publication changes for table parts;
create foreign data wrapper nowhere;
create server away foreign data wrapper nowhere options (host 'example.org');
create schema abroad;
create foreign table abroad.far (id int, email text) server away;
insert into customers (city, email, phone, address, paid) values
    ('Lisbon', 'ana.canary@example.org', '+351 21 555 0199', 'Rua do Canary 7', 12.50),
    ('Porto', 'rui.canary@example.org', null, E'two\tparts \\ and a\nline', 7),
    ('Faro', null, '', 'Canary Street 9', null);
insert into parts (label, tags, size, fits) values
    ('bolt', '{a,"b c",NULL}', '(3,"x, y")', '[1,4)'), (E'tab\there', '{}', null, 'empty'), (null, null, null, null);
insert into orders values (1, 1, '2019-05-06', 'sent'), (2, 1, '2021-01-02', 'paid'), (3, 2, '2022-02-03', 'new');
insert into long_notes values ('upper', 'lower');
refresh materialized view cities;
analyze;
select lo_from_bytea(4711, 'a drawing of a bolt'), lo_from_bytea(4712, decode(repeat('00ff', 9000), 'hex'));
