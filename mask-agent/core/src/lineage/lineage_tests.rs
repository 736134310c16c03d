//! What each output of a query is made of, as [`fixture`](super::fixture) writes it.

use super::fixture::{CUSTOMERS, check, check_writes, each, outputs};

#[test]
fn a_column_is_itself_whatever_it_is_called() {
    check("select email from customers", "email = customers.email");
    check("select c.email as x from public.customers as c", "x = customers.email");
    check(
        "select customers.email, public.customers.email from customers",
        "email = customers.email; email = customers.email",
    );
    check("select x from customers as c(a, b, x)", "x = customers.email");
    check(
        "select email::text, email::varchar, id::int4 from customers",
        "email = customers.email; email = customers.email; id = customers.id",
    );
    check(
        "select email collate \"C\", lower(email) collate \"C\" as l from customers",
        "email = customers.email; l <- customers.email",
    );
    check(
        "select email::varchar(3), email::bytea from customers",
        "email <- customers.email; email <- customers.email",
    );
    check(
        "select (email) from (customers)",
        "Syntax(\"Invalid statement: syntax error at or near \\\")\\\"\")",
    );
    check("select 1, 'a', $1, null, true, now()", "?column?; ?column?; ?column?; ?column?; ?column?; now");
    for (name, number) in
        [("ctid", -1), ("xmin", -2), ("cmin", -3), ("xmax", -4), ("cmax", -5), ("tableoid", -6)]
    {
        let select = format!("select {name} from customers");
        let found = each(&select, Some(&["public"]), |statement| format!("{:?}", statement.outputs));
        assert!(found.contains(&format!("number: {number} ")), "{found}");
    }
}

#[test]
fn a_star_is_every_column_in_its_place() {
    check("select * from customers", CUSTOMERS);
    check("table customers", CUSTOMERS);
    check("select c.* from orders o, customers c", CUSTOMERS);
    check("select (c).* from customers c", CUSTOMERS);
    check("select i, * from numbers", "i = numbers.i; i = numbers.i");
    check("select * from (select email from customers) s, numbers", "email = customers.email; i = numbers.i");
    check("select * from nobody", "* ?UnknownRelation");
}

#[test]
fn a_whole_row_is_all_of_its_columns() {
    check("select c from customers c", "c <- customers.*");
    check("select customers from customers", "customers <- customers.*");
    check(
        "select row_to_json(c), c::text, row(c.*), to_jsonb(c.*) from customers c",
        "row_to_json <- customers.*; c <- customers.*; row <- customers.id, customers.city, customers.email, customers.ssn, customers.salary; to_jsonb <- customers.id, customers.city, customers.email, customers.ssn, customers.salary",
    );
    check("select (c).email, (c).id from customers c", "email = customers.email; id = customers.id");
    check("select s from (select email, id from customers) s", "s <- customers.id, customers.email");
    check(
        "select (s).f1 from (select row(email, id) as s from customers) t",
        "f1 <- customers.id, customers.email",
    );
    check(
        "select j from (orders join customers using (id)) j",
        "j <- customers.city, customers.email, customers.ssn, customers.salary, orders.id, orders.customer_id, orders.note, orders.amount, orders.email_sent",
    );
    check("select c.row_to_json from customers c", "row_to_json <- customers.*");
    check("select (c).to_jsonb from customers c", "to_jsonb <- customers.*");
    check("select (people_in(3)).*", "name = customers.city; mail = customers.email");
    // A column comes before a relation of its name.
    check("select (orders).* from orders, (select c as orders from customers c) x", "* <- customers.*");
    check(
        "select contacts from contacts",
        "contacts <- customers.id, customers.email via contacts.id, contacts.contact",
    );
}

#[test]
fn joins_merge_what_using_and_natural_name() {
    check(
        "select id, note, email from customers join orders using (id)",
        "id = customers.id; note = orders.note; email = customers.email",
    );
    check("select id from customers right join orders using (id)", "id = orders.id");
    check("select id from customers full join orders using (id)", "id <- customers.id, orders.id");
    check("select email from customers full join customers d using (email)", "email <- customers.email");
    check("select * from numbers natural join numbers m", "i = numbers.i");
    check("select count(*) from (select 1 from customers natural join orders) s", "count");
    check(
        "select j.id, j.email from (customers join orders using (id)) as j",
        "id = customers.id; email = customers.email",
    );
    check("select j.id from customers join orders using (id) as j", "id = customers.id");
    check("select j.* from customers join orders using (id) as j", "id = customers.id");
    check(
        "select orders.id, customers.email from customers join orders using (id)",
        "id = orders.id; email = customers.email",
    );
    check("select x from (customers cross join numbers) as j(a, b, x)", "x = customers.email");
}

#[test]
fn an_alias_hides_what_stands_behind_it() {
    check("select customers.email from (customers cross join numbers) as j", "email ?UnknownColumn");
    check("select customers.email from customers c", "email ?UnknownColumn");
    check("select email from (select city as email from customers) customers", "email = customers.city");
    check("select note from orders, (select email as note_2 from customers) s", "note = orders.note");
}

#[test]
fn a_subquery_sees_what_stands_around_it_and_not_beside_it() {
    check("select (select email) from customers", "email = customers.email");
    check("select (select c.email from orders o limit 1) from customers c", "email = customers.email");
    check("select (select note from orders where id = c.id) from customers c", "note = orders.note");
    check(
        "select (select max(email) from customers), (select email)::varchar from customers",
        "max <- customers.email; email = customers.email",
    );
    check(
        "select note, (select city from customers c where c.email = o.note) from orders o where note = 'a'",
        "note = orders.note ~ customers.email; city = customers.city",
    );
    check("select x from customers c, lateral (select c.email as x) s", "x = customers.email");
    check("select x from customers c, (select c.email as x) s", "x ?UnknownColumn");
    check("select x from numbers, (select i as x from customers) s", "x ?UnknownColumn");
    check("select x from customers c cross join lateral unnest(array[c.email]) x", "x <- customers.email");
    check("select x from customers c, unnest(array[c.email]) x", "x <- customers.email");
    check(
        "select array(select email from customers), exists (select email from customers)",
        "array <- customers.email; exists",
    );
}

#[test]
fn common_tables_are_what_their_queries_are() {
    check("with x as (select email from customers) select * from x", "email = customers.email");
    check(
        "with x(v, w) as (select email, id from customers) select w, v from x",
        "w = customers.id; v = customers.email",
    );
    check(
        "with customers as (select note as email from orders) select email from customers",
        "email = orders.note",
    );
    check(
        "with customers as (select email from customers) select email from customers",
        "email = customers.email",
    );
    check("with x as (select note from orders) select x.note from x, public.customers", "note = orders.note");
    check(
        "with orders as (select email as note from customers) select note from public.orders",
        "note = orders.note",
    );
    check(
        "select note from (with x as (select email as note from customers) select note from x) s",
        "note = customers.email",
    );
    check("with x as (delete from customers returning email) select * from x", "email = customers.email");
    check("with x as (update orders set note = 'a' returning id) select id from x", "id = orders.id");
    check("with x as materialized (table numbers) select (select max(i) from x)", "max <- numbers.i");
}

#[test]
fn recursion_takes_what_any_round_adds() {
    check("with recursive t(n) as (select 1 union all select n + 1 from t where n < 9) select n from t", "n");
    check(
        "with recursive t(n, m) as (select id, city from customers union all select id, email from customers join t on n = id) select m from t",
        "m = customers.city, customers.email",
    );
    check(
        "with recursive t(n) as (select 1 union all select n + 1 from t, customers where n < salary) select n from t",
        "n ~ customers.salary",
    );
    check(
        "with recursive t(a) as (select id from customers union select a from t) search depth first by a set o select o from t",
        "o <- customers.id",
    );
}

#[test]
fn with_recursive_a_query_may_name_those_behind_it() {
    check(
        "with recursive a as (select v from b), b as (select email as v from customers) select v from a",
        "v = customers.email",
    );
    check(
        "with recursive a(v, n) as (select city, 1 from customers union all select b.v, n + 1 from a, b where n < 3), \
         b as (select email as v from customers) select v from a",
        "v = customers.city, customers.email",
    );
    check(
        "with recursive a as (select note from orders), orders as (select email as note from customers) select note from a",
        "note = customers.email",
    );
    check(
        "select (with recursive a as (select v from b), b as (select c.email as v) select v from a) from customers c",
        "v = customers.email",
    );
    check(
        "with a as (select note from orders), orders as (select email as note from customers) select note from a",
        "note = orders.note",
    );
    check(
        "with recursive a as (select v from b), b as (select v from a) select v from a",
        "v ?UnknownRelation",
    );
    let ahead: Vec<String> = (0..1_000).map(|at| format!("t{at} as (select v from t{})", at + 1)).collect();
    let deep = format!(
        "with recursive {}, t1000 as (select email as v from customers) select v from t0",
        ahead.join(", ")
    );
    check(&deep, "v ?TooDeep");
}

#[test]
fn set_operations_are_any_of_their_sides() {
    check(
        "select email from customers union all select note from orders",
        "email = customers.email, orders.note",
    );
    check("select note from orders union select ssn from customers", "note = customers.ssn, orders.note");
    check("select email from customers union all select null", "email = customers.email");
    check(
        "select email from customers union all select lower(note) from orders",
        "email <- customers.email, orders.note",
    );
    check(
        "select note from orders intersect select email from customers",
        "note = customers.email, orders.note",
    );
    check(
        "select note from orders except select email from customers",
        "note = customers.email, orders.note",
    );
    check(
        "select * from nowhere union all select email from customers",
        "* <- customers.email ?UnknownRelation",
    );
    check("values (1), (2)", "column1");
    check(
        "select v.* from customers c, lateral (values (c.*, 1), (1, 'a', 'b', 'c', 2, c.email)) v",
        "column1 = customers.id; column2 = customers.city; column3 = customers.email; column4 = customers.ssn; \
         column5 = customers.salary; column6 = customers.email",
    );
    check(
        "values (1, 'a'), ((select id from customers limit 1), (select email from customers limit 1))",
        "column1 = customers.id; column2 = customers.email",
    );
    check("select b from (values (1, (select email from customers))) v(a, b)", "b = customers.email");
}

#[test]
fn expressions_are_made_of_their_parts() {
    for expression in [
        "lower(email)",
        "email || 'x'",
        "substr(email, 1, 1)",
        "coalesce(email, '')",
        "case when email = 'a' then 1 else 0 end",
        "case email when 'a' then 1 end",
        "email = 'a'",
        "email in ('a', 'b')",
        "email like 'a%'",
        "email between 'a' and 'b'",
        "email is distinct from 'a'",
        "not email = 'a'",
        "nullif(email, 'a')",
        "greatest(email, 'a')",
        "array[email]",
        "(array[email])[1]",
        "row(email, 1)",
        "length(email) + 1",
        "xmlelement(name a, email)",
        "xmlforest(email)",
        "json_object('a': email)",
        "json_array(email)",
        "json_value(email, '$')",
        "email is json",
        "('{a,b}'::text[])[length(email)]",
        "format('%s', email)",
        "email = any (array['a'])",
        "(email, 1) = ('a', 1)",
        "overlay(email placing 'x' from 1)",
        "extract(year from email::date)",
        "email at time zone 'UTC'",
        "lower(email) is null",
    ] {
        let sql = format!("select {expression} as x from customers");
        check(&sql, "x <- customers.email");
    }
    check("select email is null as x, email is not null as y from customers", "x; y");
    check("select id + 1 as x, current_user as y from customers", "x <- customers.id; y");
}

#[test]
fn json_and_xml_are_read_through() {
    check("select body->'a'->>'b' as x, tags[1] as y from docs", "x <- docs.body; y <- docs.tags");
    check(
        "select x.* from customers, xmltable('/a' passing (email::xml) columns b text path 'b', c int path 'c') x",
        "b <- customers.email; c <- customers.email",
    );
    check(
        "select t.* from customers, json_table(email::jsonb, '$' columns (a text path '$.a', nested path '$.n[*]' columns (b int path '$.b'))) t",
        "a <- customers.email; b <- customers.email",
    );
    check(
        "select json_query(email, '$.a'), json_exists(email, '$.b') from customers",
        "json_query <- customers.email; json_exists <- customers.email",
    );
    check(
        "select json_arrayagg(email), json_objectagg(id : email) from customers",
        "json_arrayagg <- customers.email; json_objectagg <- customers.id, customers.email",
    );
    check("select json_array(select email from customers)", "json_array <- customers.email");
    check(
        "select json_scalar(email), json(email), json_serialize(email) from customers",
        "json_scalar <- customers.email; json <- customers.email; json_serialize <- customers.email",
    );
    check(
        "select key, value from customers, jsonb_each(to_jsonb(customers))",
        "key <- customers.*; value <- customers.*",
    );
    check(
        "select * from json_to_recordset((select json_agg(c) from customers c)) as t(a text, b int)",
        "a <- customers.*; b <- customers.*",
    );
}

#[test]
fn aggregates_and_windows_are_made_of_their_arguments() {
    check(
        "select max(email), count(email), count(*), string_agg(city, ',' order by email) from customers",
        "max <- customers.email; count; count; string_agg <- customers.city",
    );
    check(
        "select percentile_disc(0.5) within group (order by salary) from customers",
        "percentile_disc <- customers.salary",
    );
    check("select array_agg(email) filter (where id > 1) from customers", "array_agg <- customers.email");
    check(
        "select lag(email) over (order by id), row_number() over (order by salary) from customers",
        "lag <- customers.email; row_number",
    );
    check(
        "select first_value(email) over w from customers window w as (partition by city order by id)",
        "first_value <- customers.email",
    );
    check(
        "select city, max(salary) from customers group by rollup (city)",
        "city = customers.city; max <- customers.salary",
    );
    check(
        "select email, grouping(email) from customers group by grouping sets ((email), ())",
        "email = customers.email; grouping",
    );
    check("select distinct on (email) city from customers", "city = customers.city");
}

#[test]
fn views_are_read_through_to_what_is_stored() {
    check(
        "select * from contacts",
        "id = customers.id via contacts.id; contact = customers.email via contacts.contact",
    );
    check("select contact from rich", "contact = customers.email via contacts.contact, rich.contact");
    check("select secret_label from labels", "secret_label = orders.note via labels.secret_label");
    check("select a from unreadable", "a via unreadable.a ?UnreadableView");
    check("select relname from pg_class", "relname = pg_catalog.pg_class.relname");
    check("select handle from people", "handle <- people.work_email, people.handle");
}

#[test]
fn a_name_means_the_first_on_the_path_or_any_where_that_is_unknown() {
    let along = |path: Option<&[&str]>, expected: &str| {
        assert_eq!(each("select label from items", path, outputs), expected, "{path:?}");
    };
    along(Some(&["public"]), "label = items.label");
    along(Some(&["archive", "public"]), "label = archive.items.label");
    along(Some(&["nowhere"]), "label = items.label, archive.items.label");
    along(None, "label = items.label, archive.items.label");
    check("select label from archive.items", "label = archive.items.label");
    check("select 1 as a from other.customers", "a");
    check("select email from other.customers", "email ?UnknownRelation");
    check("set search_path = archive; select label from items", "- | label = archive.items.label");
    check(
        "set search_path = \"$user\", public; select label from items",
        "- | label = items.label, archive.items.label",
    );
}

#[test]
fn a_body_the_server_writes_out_means_the_servers_own_functions() {
    check("select reverse(note) from orders", "reverse <- orders.note");
    check("select public.reverse(email) from customers", "reverse <- customers.email");
}

#[test]
fn what_a_string_makes_is_known_to_the_rest_of_it() {
    check(
        "create temp table t as select email as x from customers; select x from t",
        "- | x = customers.email",
    );
    check("select email as x into t from customers; table t", "- | x = customers.email");
    check(
        "create table t (a text, b text generated always as (upper(a)) stored); \
         insert into t (a) select email from customers; select b from t",
        "- | - | b <- customers.email",
    );
    check(
        "create table t (a text); alter table t add b text generated always as (upper(a)) stored; select b from t",
        "- | - | b",
    );
    check("create table t (a int generated always as identity, b text unique); select a from t", "- | a");
    check("create table t (a text, b int); select a, b from t", "- | a; b");
    check(
        "create temp table t (a text); insert into t select email from customers; select a from t",
        "- | - | a <- customers.email",
    );
    check(
        "create table t (a text); with x as (select email from customers) insert into t (a) select email from x; table t",
        "- | - | a <- customers.email",
    );
    check("update orders set note = 'a'; select note from orders", "- | note = orders.note");
    check("create view v as select email from customers; select * from v", "- | email = customers.email");
    check("alter table orders rename note to remark; select remark from orders", "- | remark = orders.note");
    check(
        "create function lower(text) returns text language sql as 'select 1'; select lower('a')",
        "- | lower",
    );
    check(
        "create function g(n int, t text default email_of(1)) returns text language sql as 'select $2'; select g(1)",
        "- | g <- customers.email",
    );
    check(
        "create function g() returns text language plpgsql as 'begin execute $$select 1$$; return 1; end'; select g()",
        "- | g ?UnknownFunction",
    );
    check(
        "alter table orders add extra text; select extra, note from orders",
        "- | extra <- orders.?; note = orders.note",
    );
}

#[test]
fn what_is_written_comes_back_as_what_it_was() {
    check(
        "insert into customers (email) values ($1) returning id, email",
        "id = customers.id; email = customers.email",
    );
    check(
        "insert into orders (note) select email from customers returning note, id",
        "note = customers.email, orders.note; id = orders.id",
    );
    check(
        "insert into orders (note) values ('a') returning *",
        "id = orders.id; customer_id = orders.customer_id; note = orders.note; amount = orders.amount; email_sent = orders.email_sent",
    );
    check(
        "update customers set email = $1 where id = 1 returning city, email",
        "city = customers.city; email = customers.email",
    );
    check(
        "update orders o set note = c.email from customers c where c.id = o.customer_id returning o.note, c.city",
        "note = customers.email, orders.note; city = customers.city",
    );
    check(
        "update orders set note = 'a' returning old.note, new.note",
        "note = orders.note; note = orders.note",
    );
    check(
        "update orders set note = 'a' returning with (old as o, new as n) o.id, n.note",
        "id = orders.id; note = orders.note",
    );
    check("update customers set salary = salary + 1 returning salary", "salary <- customers.salary");
    check(
        "delete from customers using orders where customers.id = orders.id returning email, note",
        "email = customers.email; note = orders.note",
    );
    check("delete from customers returning *", CUSTOMERS);
    check("insert into orders default values", "-");
    check(
        "insert into orders (note) values ('a') on conflict (id) do update set note = (select email from customers limit 1) returning note",
        "note = customers.email, orders.note",
    );
    check(
        "merge into orders o using customers c on o.customer_id = c.id when matched then update set note = c.email returning merge_action(), o.note, c.ssn",
        "merge_action; note = customers.email, orders.note; ssn = customers.ssn",
    );
    check(
        "insert into people (work_email) values ('a') returning handle",
        "handle <- people.work_email, people.handle",
    );
    check("insert into ruled (note) values ('a') returning note", "* ?UserRule");
    check("update noted set note = 'a' returning note", "note = noted.note");
    check("delete from noted returning id", "* ?UserRule");
    check("insert into noted values (1, 'a') returning id", "id = noted.id");
    check(
        "insert into mailbox select id, email from customers returning body, id",
        "body = customers.email, orders.note via mailbox.body; id = customers.id, orders.id via mailbox.id",
    );
}

#[test]
fn what_is_put_where_is_known() {
    check_writes(
        "update orders set note = email from customers c where c.id = customer_id",
        "orders.note <- customers.email",
    );
    check_writes(
        "update customers set city = email, salary = 1",
        "customers.city <- customers.email; customers.salary",
    );
    check_writes(
        "update orders set (note, amount) = (select email, 1 from customers limit 1)",
        "orders.note <- customers.email; orders.amount",
    );
    check_writes("update orders set (note, amount) = ('a', 2)", "orders.note; orders.amount");
    check_writes(
        "insert into defaulted (id) values (1)",
        "defaulted.id; defaulted.filled <- customers.email",
    );
    check_writes("insert into defaulted values (1, 'a')", "defaulted.id; defaulted.filled");
    check_writes(
        "update contacts set contact = city from customers c where c.id = contacts.id",
        "contacts.contact <- customers.city; customers.email <- customers.city",
    );
    check_writes(
        "update noted set note = email from customers c",
        "noted.note <- customers.email ~ noted.note; noted.* ~ customers.email, noted.note; \
         kept_notes.id <- noted.id ~ customers.email, noted.note; kept_notes.was <- customers.email ~ noted.note",
    );
    check_writes(
        "insert into mailbox select id, email from customers",
        "mailbox.id <- customers.id; orders.id <- customers.id; mailbox.body <- customers.email; \
         orders.note <- customers.email; orders.id <- customers.id; orders.note <- customers.email",
    );
    check_writes(
        "update noted set note = 'a' from numbers, customers where i <= salary",
        "noted.note ~ customers.salary, numbers.i; noted.* ~ customers.salary, numbers.i; kept_notes.id <- noted.id ~ customers.salary, numbers.i; \
         kept_notes.was ~ customers.salary, numbers.i",
    );
    check_writes(
        "insert into orders (note) values ((select email from customers limit 1))",
        "orders.note <- customers.email",
    );
    check_writes(
        "insert into items select id, email from customers",
        "items.id <- customers.id; items.label <- customers.email",
    );
    check_writes(
        "insert into orders (id, note) values (1, 'a') on conflict (id) do update set note = excluded.note || orders.note",
        "orders.id; orders.note; orders.note <- orders.note",
    );
    check_writes(
        "with x as (select email v from customers), y as (insert into orders (note) select v from x) select 1",
        "orders.note <- customers.email",
    );
    check_writes(
        "with x as (delete from customers returning email v) insert into orders (note) select v from x",
        "customers.*; orders.note <- customers.email; letters.*",
    );
    check_writes(
        "merge into items i using customers c on i.id = c.id when not matched then insert (id, label) values (c.id, c.email) when matched then delete",
        "items.id <- customers.id; items.label <- customers.email; items.*",
    );
    check_writes(
        "create table t as select email as x, id from customers",
        "new t.x = customers.email; new t.id = customers.id",
    );
    check_writes("create materialized view t(a) as select email from customers", "new t.a = customers.email");
    check_writes("select email as x into t from customers", "new t.x = customers.email");
    check_writes(
        "explain analyze create table t as select email as x from customers",
        "new t.x = customers.email",
    );
    check_writes(
        "insert into orders (note) select city from customers where email = 'a'",
        "orders.note <- customers.city",
    );
    check_writes(
        "insert into orders (id) select i from numbers, customers where i <= salary",
        "orders.id <- numbers.i ~ customers.salary",
    );
    check_writes(
        "do $$ begin update orders set note = (select email from customers limit 1); end $$",
        "orders.note <- customers.email",
    );
}

#[test]
fn a_name_that_an_unknown_column_may_have_is_also_what_else_it_may_be() {
    // Random statements found it: the columns of `unnest` are not known, and `c` was taken for one of them.
    check(
        "select c::text as row from customers c cross join unnest(array[c.city]) as t (word)",
        "row <- customers.*, customers.city",
    );
}
