-- The tables of the attack corpus. Objects of customers are `c_…`, their mirrors without classified columns `p_…`;
-- what stands in a classified column is a canary: letters of q z x w k j v, digits of 5 7 8 9, so that pieces of four
-- characters occur nowhere else.
create schema app;
create role c_role login password 'zxqwkjvz';
do $$ declare one text; begin
    for one in select name from pg_available_extensions where name in
        ('citext', 'dblink', 'file_fdw', 'hstore', 'pgcrypto', 'postgres_fdw', 'tablefunc', 'xml2') loop
        execute format('create extension %I', one); end loop; end $$;
create table app.customers (
    id int primary key, name text, email text, ssn text, phone text, birth_date date, salary int,
    income numeric(12, 2), city text, notes text, active bool);
create table app.parts (
    id int primary key, label text, code text, serial text, line text, made_on date, weight int,
    cost numeric(12, 2), city text, notes text, active bool);
insert into app.customers values
    (1, 'Xzwj Xkqkz', 'qzqk.wqvk@wqzq.kvz', '897-58-7578', '+57-758-9898', '1857-10-15', 9898598, 75957.87, 'Porto', 'calls back', false),
    (2, 'Zjvk Wqwjw', 'qzqz.wzqx@kzkq.xkq', '579-78-9857', '+58-897-5787', '1875-12-13', 5797879, 97979.85, 'Faro', 'new', true),
    (3, 'Xkwv Zqjxw', 'jkvk.wvkz@qvwv.zkq', '895-57-8789', '+97-879-7959', '1878-08-23', 5795785, 78787.97, 'Braga', 'prefers post', false),
    (4, 'Xvzv Wvjvx', 'kwjx.qxqv@jzwq.xqj', '585-75-8595', '+89-875-7578', '1879-01-18', 8787589, 95958.87, 'Evora', 'calls back', true),
    (5, 'Vwkq Jqjkj', 'zwxq.wvqj@wxvq.vxz', '985-75-7595', '+98-579-9578', '1885-02-28', 5895989, 98798.98, 'Lisbon', 'new', false),
    (6, 'Vzjv Xwqkz', 'jzxw.kjwq@zjzq.zkv', '979-89-5785', '+87-979-5879', '1887-07-27', 5879879, 58989.75, 'Porto', 'prefers post', true),
    (7, 'Jwqx Qxqxw', 'qkvz.zxkw@wqjw.zvj', '959-59-5759', '+89-979-7587', '1889-10-20', 7857589, 87857.59, 'Faro', 'calls back', false),
    (8, 'Vqwk Zvqwx', 'qkjw.qjkj@vzjv.vzk', '979-59-7985', '+75-585-7898', '1897-02-27', 7978585, 85898.87, 'Braga', 'new', true),
    (9, 'Qkzx Vkvxz', 'jxwq.xwxq@vxkj.qvw', '595-89-5758', '+79-578-5979', '1899-10-24', 8575797, 97895.78, 'Evora', 'prefers post', false),
    (10, 'Vwkj Jvzjx', 'vqwv.vzkx@qvkw.kzj', '958-89-5858', '+89-789-9878', '1895-12-25', 9797975, 57978.58, 'Lisbon', 'calls back', true),
    (11, 'Qwxq Kvjqv', 'qzqj.jwjv@zqjz.vqw', '879-58-5959', '+95-597-5757', '1858-08-13', 8797587, 85789.79, 'Porto', 'new', false),
    (12, 'Qkvx Vqzwk', 'kxvk.qzvj@xwvk.qwx', '589-57-9597', '+85-597-9787', '1859-12-20', 9587875, 79797.89, 'Faro', 'prefers post', true),
    (13, 'Jqwv Kxkzw', 'xzxw.qwzx@zkvz.kqv', '598-87-8578', '+58-878-9585', '1877-12-28', 9575757, 59795.85, 'Braga', 'calls back', false),
    (14, 'Vkvx Vwvkq', 'xkzj.xzvw@qkzq.xwz', '585-59-7585', '+75-585-9795', '1888-09-17', 9797898, 59879.95, 'Evora', 'new', true),
    (15, 'Xvkv Zxzwq', 'wxkv.kvkj@xqkj.xwq', '575-98-8587', '+58-897-8589', '1898-02-13', 5989895, 79798.57, 'Lisbon', 'prefers post', false),
    (16, 'Kzxw Jzjxk', 'wkxk.qjkq@kvxj.kzx', '595-87-7585', '+78-798-8758', '1855-11-24', 9597985, 78587.59, 'Porto', 'calls back', true),
    (17, 'Vxjq Kvzxk', 'xjkj.jwkq@zwvz.qjv', '787-57-5978', '+87-597-5858', '1883-08-19', 9859879, 98978.85, 'Faro', 'new', false),
    (18, 'Qvwj Qvwzv', 'jkqw.vjwk@vqzx.vkq', '975-85-5798', '+57-957-5878', '1893-12-23', 8757957, 78985.75, 'Braga', 'prefers post', true),
    (19, 'Xzkq Qzkqk', 'zxkx.wxvj@wjvq.vwx', '578-75-7857', '+75-587-5785', '1853-11-23', 8787895, 78595.87, 'Evora', 'calls back', false),
    (20, 'Vjwj Vxqzk', 'jvzq.xqxj@zxvw.wzk', '798-78-8585', '+97-789-7578', '1873-01-27', 5787857, 89587.75, 'Lisbon', 'new', true);
insert into app.parts values
    (1, 'Bolt 6133', 'bolt.3013@shelf.row', '342-13-4263', '+26-311-0111', '2002-11-20', 1341220, 23424.42, 'Porto', 'calls back', false),
    (2, 'Bolt 6333', 'bolt.6061@shelf.row', '110-14-3614', '+43-621-4410', '2003-01-16', 6613110, 31241.42, 'Faro', 'new', true),
    (3, 'Bolt 6033', 'bolt.1611@shelf.row', '634-32-3122', '+06-202-4336', '2004-01-25', 3442400, 20022.01, 'Braga', 'prefers post', false),
    (4, 'Bolt 0441', 'bolt.6643@shelf.row', '263-12-6461', '+06-463-6641', '2005-09-13', 6666610, 10162.03, 'Evora', 'calls back', true),
    (5, 'Bolt 0202', 'bolt.2301@shelf.row', '606-22-2033', '+40-232-0200', '2006-11-22', 2123421, 33063.44, 'Lisbon', 'new', false),
    (6, 'Bolt 2640', 'bolt.1312@shelf.row', '113-12-2043', '+41-133-6041', '2007-07-14', 2041306, 11336.26, 'Porto', 'prefers post', true),
    (7, 'Bolt 4303', 'bolt.0364@shelf.row', '164-06-1362', '+32-623-0264', '2008-06-26', 4026136, 41031.30, 'Faro', 'calls back', false),
    (8, 'Bolt 0401', 'bolt.2161@shelf.row', '162-13-2413', '+66-643-3460', '2009-01-26', 2421344, 14110.00, 'Braga', 'new', true),
    (9, 'Bolt 4630', 'bolt.6136@shelf.row', '446-63-1666', '+66-416-1603', '2010-07-23', 3660313, 22333.04, 'Evora', 'prefers post', false),
    (10, 'Bolt 2344', 'bolt.1232@shelf.row', '324-02-2233', '+24-242-1630', '2011-06-19', 3621460, 13643.44, 'Lisbon', 'calls back', true),
    (11, 'Bolt 3634', 'bolt.1326@shelf.row', '022-23-1402', '+14-124-6324', '2012-02-28', 4161240, 43612.40, 'Porto', 'new', false),
    (12, 'Bolt 3110', 'bolt.2422@shelf.row', '123-02-3301', '+40-661-4320', '2001-05-19', 3321103, 33106.21, 'Faro', 'prefers post', true),
    (13, 'Bolt 6102', 'bolt.0334@shelf.row', '420-00-3144', '+11-164-3631', '2002-01-25', 4444030, 32312.63, 'Braga', 'calls back', false),
    (14, 'Bolt 3341', 'bolt.3244@shelf.row', '033-63-2622', '+23-444-3620', '2003-12-28', 4321421, 44341.02, 'Evora', 'new', true),
    (15, 'Bolt 0112', 'bolt.3102@shelf.row', '342-02-4323', '+60-032-4131', '2004-08-22', 3130260, 31161.01, 'Lisbon', 'prefers post', false),
    (16, 'Bolt 0413', 'bolt.1213@shelf.row', '604-26-6141', '+43-642-3664', '2005-06-13', 1620446, 11600.21, 'Porto', 'calls back', true),
    (17, 'Bolt 1166', 'bolt.3601@shelf.row', '642-44-3241', '+43-320-1114', '2006-12-16', 2260146, 36314.31, 'Faro', 'new', false),
    (18, 'Bolt 4013', 'bolt.6460@shelf.row', '221-16-0226', '+24-612-4632', '2007-01-23', 3342112, 21106.33, 'Braga', 'prefers post', true),
    (19, 'Bolt 6130', 'bolt.0410@shelf.row', '044-14-1242', '+61-161-4026', '2008-04-27', 4162331, 30066.00, 'Evora', 'calls back', false),
    (20, 'Bolt 2610', 'bolt.2200@shelf.row', '140-34-2202', '+60-634-2426', '2009-07-21', 4324331, 43316.01, 'Lisbon', 'new', true);
create table app.orders (id int primary key, owner_id int, total numeric(8, 2), placed date);
insert into app.orders select n, 1 + n % 20, n * 10 + 0.25, date '2024-01-01' + n from generate_series(1, 40) n;
create table app.numbers (n int primary key, word text);
insert into app.numbers select n, 'word ' || n from generate_series(0, 9999) n;
create table app.c_days (d date primary key);
insert into app.c_days select generate_series(date '1850-01-01', date '1899-12-31', '1 day');
create table app.p_days (d date primary key);
insert into app.p_days select generate_series(date '2000-01-01', date '2019-12-31', '1 day');
create table app.c_words (id int primary key, w text);
insert into app.c_words select id, ssn from app.customers union all select id + 100, 'word ' || id from app.customers;
create table app.p_words (id int primary key, w text);
insert into app.p_words select id, serial from app.parts union all select id + 100, 'word ' || id from app.parts;
create type app.mood as enum ('happy', 'sad');
create domain app.short as text check (length(value) < 3);
create domain app.tiny as int check (value between 0 and 9);
create type app.pair as (first text, second text);
create sequence app.seq;

create view app.c_view as select id, email as contact, ssn as tax, city from app.customers;
create view app.c_view2 as select id, upper(contact) as shout, left(tax, 6) as start from app.c_view;
create view app.c_star as select * from app.customers;
create view app.c_count as select city, count(*) as many, max(email) as last_one from app.customers group by city;
create view app.c_barrier with (security_barrier) as select id, email as contact from app.customers where active;
create view app.c_boxed as select id, row(ssn, email)::app.pair as box from app.customers;
create view app.c_whole as select id, c as entire from app.customers c;
create view app.c_json as select id, to_jsonb(c) as doc from app.customers c;
create recursive view app.c_chain (id, contact) as
    select id, email from app.customers where id = 1 union all
    select c.id, c.email from app.customers c join c_chain h on c.id = h.id + 1 where c.id < 4;
create materialized view app.c_mat as select id, email as contact, ssn as tax from app.customers;
create view app.p_view as select id, code as contact, serial as tax, city from app.parts;
create view app.p_view2 as select id, upper(contact) as shout, left(tax, 6) as start from app.p_view;
create view app.p_star as select * from app.parts;
create view app.p_count as select city, count(*) as many, max(code) as last_one from app.parts group by city;
create view app.p_barrier with (security_barrier) as select id, code as contact from app.parts where active;
create view app.p_boxed as select id, row(serial, code)::app.pair as box from app.parts;
create view app.p_whole as select id, c as entire from app.parts c;
create view app.p_json as select id, to_jsonb(c) as doc from app.parts c;
create recursive view app.p_chain (id, contact) as
    select id, code from app.parts where id = 1 union all
    select c.id, c.code from app.parts c join p_chain h on c.id = h.id + 1 where c.id < 4;
create materialized view app.p_mat as select id, code as contact, serial as tax from app.parts;

create table app.c_events (id int, city text, email text) partition by range (id);
create table app.c_events_1 partition of app.c_events for values from (0) to (11);
create table app.c_events_2 (email text, id int, city text);
alter table app.c_events attach partition app.c_events_2 for values from (11) to (100);
insert into app.c_events select id, city, email from app.customers;
create table app.c_base (id int, ssn text);
create table app.c_heir (extra text) inherits (app.c_base);
insert into app.c_heir select id, ssn, city from app.customers;
create table app.c_gen (id int primary key, email text, shown text generated always as (upper(email)) stored,
    size int generated always as (length(email)) stored);
insert into app.c_gen select id, email from app.customers;
create table app.c_people (id int primary key, email text, ssn text, city text, notes text, active bool);
insert into app.c_people select id, email, ssn, city, notes, active from app.customers;
create table app.c_sink (id int, val text, more text);
create table app.c_keyed (id int primary key, val text unique);
insert into app.c_keyed values (1, 'one');
create table app.c_unique (id int primary key, ssn text not null unique, salary int check (salary > 0),
    city text not null);
insert into app.c_unique select id, ssn, salary, city from app.customers where id < 6;
create table app.c_refer (id int primary key, ssn text references app.c_unique (ssn));
create table app.c_narrow (id int, val varchar(5), num smallint, day date, feel app.mood, little app.tiny);
create table app.c_checked (id int, val text, constraint c_val_short check (length(val) < 3));
create index c_lower on app.customers (lower(email));
create index c_trial on app.c_events_1 (city);
create table app.p_events (id int, city text, code text) partition by range (id);
create table app.p_events_1 partition of app.p_events for values from (0) to (11);
create table app.p_events_2 (code text, id int, city text);
alter table app.p_events attach partition app.p_events_2 for values from (11) to (100);
insert into app.p_events select id, city, code from app.parts;
create table app.p_base (id int, serial text);
create table app.p_heir (extra text) inherits (app.p_base);
insert into app.p_heir select id, serial, city from app.parts;
create table app.p_gen (id int primary key, code text, shown text generated always as (upper(code)) stored,
    size int generated always as (length(code)) stored);
insert into app.p_gen select id, code from app.parts;
create table app.p_people (id int primary key, code text, serial text, city text, notes text, active bool);
insert into app.p_people select id, code, serial, city, notes, active from app.parts;
create table app.p_sink (id int, val text, more text);
create table app.p_keyed (id int primary key, val text unique);
insert into app.p_keyed values (1, 'one');
create table app.p_unique (id int primary key, serial text not null unique, weight int check (weight > 0),
    city text not null);
insert into app.p_unique select id, serial, weight, city from app.parts where id < 6;
create table app.p_refer (id int primary key, serial text references app.p_unique (serial));
create table app.p_narrow (id int, val varchar(5), num smallint, day date, feel app.mood, little app.tiny);
create table app.p_checked (id int, val text, constraint p_val_short check (length(val) < 3));
create index p_lower on app.parts (lower(code));
create index p_trial on app.p_events_1 (city);

create function app.c_read() returns text language sql stable as
    'select email from app.customers order by id limit 1';
create function app.c_all() returns setof text language sql stable as 'select email from app.customers';
create function app.c_tab() returns table (num int, contact text) language sql stable as
    'select id, email from app.customers';
create function app.c_rows() returns setof app.customers language sql stable as 'select * from app.customers';
create function app.c_const() returns text language sql immutable as
    'select email from app.customers order by id limit 1';
create function app.c_plain(wanted int) returns text language plpgsql stable as $$
    declare found_one text; begin
    select ssn into found_one from app.customers where id = wanted; return found_one; end $$;
create function app.c_loop() returns setof text language plpgsql stable as $$
    declare r record; begin
    for r in select * from app.customers order by id loop return next r.email; end loop; end $$;
create function app.c_query() returns table (num int, contact text) language plpgsql stable as $$ begin
    return query select id, email from app.customers; end $$;
create function app.c_secret() returns text language plpgsql security definer stable as $$ begin
    return (select email from app.customers order by id limit 1); end $$;
create function app.c_label(c app.customers) returns text language sql immutable as 'select c.email';
create function app.c_dear(c app.customers) returns text language plpgsql immutable as $$ begin
    return 'Dear ' || c.name; end $$;
create function app.c_cursor() returns refcursor language plpgsql as $$
    declare opened refcursor := 'opened'; begin
    open opened for select email from app.customers; return opened; end $$;
create function app.c_out(out first text, out second text) language sql stable as
    'select email, ssn from app.customers order by id limit 1';
create procedure app.c_proc(inout answer text) language plpgsql as $$ begin
    select email into answer from app.customers order by id limit 1; end $$;
create procedure app.c_tells() language plpgsql as $$ begin
    raise notice 'first is %', (select email from app.customers order by id limit 1); end $$;
create table app.c_dflt (id int, val text default app.c_read());
create table app.c_log (id int, entry text);
create table app.c_audited (id int primary key, email text, city text);
insert into app.c_audited select id, email, city from app.customers;
create function app.c_audit() returns trigger language plpgsql as $$ begin
    insert into app.c_log values (old.id, old.email || ' moved'); return new; end $$;
create trigger audit after update on app.c_audited for each row execute function app.c_audit();
create function app.c_tell() returns trigger language plpgsql as $$ begin
    raise notice 'row % of %', new.id, new.email; return new; end $$;
create trigger tell before delete or insert on app.c_audited for each row execute function app.c_tell();
create table app.c_inbox (id int, val text);
create rule peek as on insert to app.c_inbox do also select email from app.customers;
create rule swap as on update to app.c_inbox do instead
    insert into app.c_sink select id, email from app.customers returning id, val;
create view app.c_door as select id, city as val from app.customers;
create function app.c_open() returns trigger language plpgsql as $$ begin
    new.val := (select email from app.customers where id = new.id); return new; end $$;
create trigger opening instead of update on app.c_door for each row execute function app.c_open();
create table app.c_filled (id int, val text);
create function app.c_fill() returns trigger language plpgsql as $$ begin
    new.val := (select ssn from app.customers where id = new.id); return new; end $$;
create trigger filling before insert on app.c_filled for each row execute function app.c_fill();
create function app.p_read() returns text language sql stable as
    'select code from app.parts order by id limit 1';
-- One that cases replace: nothing else calls it.
create function app.p_later() returns text language sql stable as
    'select code from app.parts order by id limit 1';
create function app.p_all() returns setof text language sql stable as 'select code from app.parts';
create function app.p_tab() returns table (num int, contact text) language sql stable as
    'select id, code from app.parts';
create function app.p_rows() returns setof app.parts language sql stable as 'select * from app.parts';
create function app.p_const() returns text language sql immutable as
    'select code from app.parts order by id limit 1';
create function app.p_plain(wanted int) returns text language plpgsql stable as $$
    declare found_one text; begin
    select serial into found_one from app.parts where id = wanted; return found_one; end $$;
create function app.p_loop() returns setof text language plpgsql stable as $$
    declare r record; begin
    for r in select * from app.parts order by id loop return next r.code; end loop; end $$;
create function app.p_query() returns table (num int, contact text) language plpgsql stable as $$ begin
    return query select id, code from app.parts; end $$;
create function app.p_secret() returns text language plpgsql security definer stable as $$ begin
    return (select code from app.parts order by id limit 1); end $$;
create function app.p_label(c app.parts) returns text language sql immutable as 'select c.code';
create function app.p_dear(c app.parts) returns text language plpgsql immutable as $$ begin
    return 'Dear ' || c.label; end $$;
create function app.p_cursor() returns refcursor language plpgsql as $$
    declare opened refcursor := 'opened'; begin
    open opened for select code from app.parts; return opened; end $$;
create function app.p_out(out first text, out second text) language sql stable as
    'select code, serial from app.parts order by id limit 1';
create procedure app.p_proc(inout answer text) language plpgsql as $$ begin
    select code into answer from app.parts order by id limit 1; end $$;
create procedure app.p_tells() language plpgsql as $$ begin
    raise notice 'first is %', (select code from app.parts order by id limit 1); end $$;
create table app.p_dflt (id int, val text default app.p_read());
create table app.p_log (id int, entry text);
create table app.p_audited (id int primary key, code text, city text);
insert into app.p_audited select id, code, city from app.parts;
create function app.p_audit() returns trigger language plpgsql as $$ begin
    insert into app.p_log values (old.id, old.code || ' moved'); return new; end $$;
create trigger audit after update on app.p_audited for each row execute function app.p_audit();
create function app.p_tell() returns trigger language plpgsql as $$ begin
    raise notice 'row % of %', new.id, new.code; return new; end $$;
create trigger tell before delete or insert on app.p_audited for each row execute function app.p_tell();
create table app.p_inbox (id int, val text);
create rule peek as on insert to app.p_inbox do also select code from app.parts;
create rule swap as on update to app.p_inbox do instead
    insert into app.p_sink select id, code from app.parts returning id, val;
create view app.p_door as select id, city as val from app.parts;
create function app.p_open() returns trigger language plpgsql as $$ begin
    new.val := (select code from app.parts where id = new.id); return new; end $$;
create trigger opening instead of update on app.p_door for each row execute function app.p_open();
create table app.p_filled (id int, val text);
create function app.p_fill() returns trigger language plpgsql as $$ begin
    new.val := (select serial from app.parts where id = new.id); return new; end $$;
create trigger filling before insert on app.p_filled for each row execute function app.p_fill();

do $$ begin if current_setting('server_version_num')::int >= 140000 then
    execute 'create function app.c_atomic() returns text stable begin atomic
        select ssn from app.customers order by id limit 1; end';
    execute 'create function app.p_atomic() returns text stable begin atomic
        select serial from app.parts order by id limit 1; end'; end if; end $$;
create function app.f_rev(value text) returns text language sql immutable as 'select reverse(value)';
create function app.f_same(value anyelement) returns anyelement language sql immutable as 'select value';
create function app.f_pl(value text) returns text language plpgsql immutable as $$ begin
    return substr(value, 2) || substr(value, 1, 1); end $$;
create function app.f_notice(value text) returns int language plpgsql as $$ begin
    raise notice 'given %', value using detail = value, hint = 'a hint'; return 1; end $$;
create function app.f_warn(value text) returns bool language plpgsql as $$ begin
    raise warning '%', value; return true; end $$;
create function app.f_cheap(value text) returns bool language plpgsql cost 0.0001 as $$ begin
    raise notice 'saw %', value; return true; end $$;
create function app.f_error(value text) returns int language plpgsql as $$ begin
    raise exception 'given %', value using detail = value, hint = value, column = value, constraint = value,
        datatype = value, table = value, schema = value, errcode = '22023'; end $$;
create function app.f_assert(value text) returns int language plpgsql as $$ begin
    assert false, value; return 1; end $$;
create function app.f_dynamic(value text) returns int language plpgsql as $$ begin
    execute format('select 1/0 /* %s */', value); return 1; end $$;
create function app.f_run(command text) returns text language plpgsql as $$
    declare answer text; begin execute command into answer; return answer; end $$;
create function app.f_runs(command text) returns setof record language plpgsql as $$ begin
    return query execute command; end $$;
create function app.f_setting(value text) returns text language plpgsql as $$ begin
    return set_config('application_name', value, false); end $$;
create function app.f_tell(value text) returns int language plpgsql as $$ begin
    perform pg_notify('news', value); return 1; end $$;
create table app.f_kept (val text);
create function app.f_keep(value text) returns int language sql as
    'insert into app.f_kept values (value); select 1';
create function app.f_join(text, text) returns text language sql immutable as 'select $1 || $2';
create operator app.### (leftarg = text, rightarg = text, function = app.f_join);
create operator app.!!! (rightarg = text, function = app.f_rev);
create function app.f_less(text, text) returns bool language plpgsql immutable as $$ begin
    raise notice 'compared % with %', $1, $2; return $1 < $2; end $$;
create operator app.<<< (leftarg = text, rightarg = text, function = app.f_less);
create aggregate app.f_cat(text) (sfunc = textcat, stype = text, initcond = '');
create type app.wrapped as (v text);
create function app.f_wrap(value text) returns app.wrapped language sql immutable as 'select row(value)::app.wrapped';
create cast (text as app.wrapped) with function app.f_wrap(text);
create function app.f_many(variadic texts text[]) returns text language sql immutable as
    'select array_to_string(texts, ''|'')';
comment on table app.customers is 'People we sell to';
comment on column app.customers.city is 'Where they live';
comment on table app.parts is 'Things we sell';
comment on column app.parts.city is 'Where they lie';
refresh materialized view app.c_mat;
refresh materialized view app.p_mat;
analyze;

-- What told.yaml calls and writes to: no snapshot may be older.
create function app.c_given(x text default app.c_read()) returns text language sql stable as 'select $1';
create function app.p_given(x text default app.p_read()) returns text language sql stable as 'select $1';
create function app.c_given_by_name(a int, x text default app.c_read()) returns text language sql stable as
    $$ select x || '' $$;
create function app.p_given_by_name(a int, x text default app.p_read()) returns text language sql stable as
    $$ select x || '' $$;
create function app.c_duo() returns setof app.pair language sql stable as 'select city, ssn from app.customers';
create function app.p_duo() returns setof app.pair language sql stable as 'select city, serial from app.parts';
create table app.c_held (id int, val text, more text);
create view app.c_shows as select id, val as x from app.c_held;
create table app.p_held (id int, val text, more text);
create view app.p_shows as select id, val as x from app.p_held;
create table app.c_kept (id int, val text);
create view app.c_keeps as select id, val as x from app.c_kept;
create table app.p_kept (id int, val text);
create table app.c_counted (id int);
create table app.p_counted (id int);
create view app.p_keeps as select id, val as x from app.p_kept;
create schema shade;
create table shade.c_view (id int, contact text, tax text, city text);
create table shade.p_view (id int, contact text, tax text, city text);

-- Parents that name no class.
create table app.c_grand (said text);
create table app.c_mid () inherits (app.c_grand);
create view app.c_grand_view as select said as x from app.c_grand;
create table app.p_grand (said text);
create table app.p_mid () inherits (app.p_grand);
create view app.p_grand_view as select said as x from app.p_grand;
-- What "$user" means for one role.
create schema authorization c_role;
create table c_role.c_view (id int, contact text, tax text, city text);
create table c_role.p_view (id int, contact text, tax text, city text);
grant select on c_role.c_view, c_role.p_view to c_role;
create table app.c_shift (id int, val text, more text);
create table app.p_shift (id int, val text, more text);
create table app.c_rows (n int, z int);
create table app.p_rows (n int, z int);
-- What an operator has put here of this very server, under other names.
do $$ begin if exists (select from pg_extension where extname = 'postgres_fdw') then
    execute format('create server far foreign data wrapper postgres_fdw options (host ''127.0.0.1'', port %L, dbname %L)',
        current_setting('port'), current_database());
    create user mapping for postgres server far options (user 'postgres', password 'clear-secret');
    create foreign table app.c_far (id int, x text options (column_name 'email'), y text options (column_name 'city'))
        server far options (schema_name 'app', table_name 'customers');
    create foreign table app.p_far (id int, x text options (column_name 'code'), y text options (column_name 'city'))
        server far options (schema_name 'app', table_name 'parts'); end if; end $$;
