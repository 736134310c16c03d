//! The walk on statements whose flows were worked out by hand, on a real server's trees.

use std::fmt::Write;

use super::{Statement, WalkError};
use crate::{
    catalog::{Catalog, observer},
    flow::Flow,
    server::Server,
    vocabulary::Vocabulary,
    walk,
};

const SCHEMA: &str = "
    create schema app;
    set search_path = app;
    create table cust (id int primary key, name text, email text, ssn text);
    create table ord (id int, cust_id int, region text, amount numeric);
    create type pair as (a text, b text);
    create table boxed (p pair, tags text[]);
    create view v as select id, email as e from cust where ssn is not null;
    create view vv as select e from v;
    create function f(text) returns text language sql as 'select $1';
    create operator @@@ (leftarg = text, rightarg = text, function = starts_with);
    create table kept (id int, was text);
    create table ruled (id int, note text);
    create rule keep as on update to ruled do also insert into kept values (old.id, new.note);
";

/// Outputs divided by `|`, then `~` what decides, then `;` each write. What is only tolerated stands in parentheses.
/// `c` and `o` stand for cust and ord.
const CASES: &[(&str, &str)] = &[
    ("select email as e, 1 from cust", "c.email | -"),
    ("select * from cust", "c.id | c.name | c.email | c.ssn"),
    ("select c from cust c", "c.*"),
    ("select row_to_json(c), c::text from cust c", "c.* | c.*"),
    ("select upper(email) || name from cust", "c.email c.name"),
    ("select email collate \"C\", email::varchar(3), id::float from cust", "c.email | c.email | c.id"),
    ("select ctid, tableoid from cust", "(c.ctid) | (c.tableoid)"),
    ("select t.e from (select email as e from cust) t", "c.email"),
    ("select e from vv", "c.email"),
    ("select v from v", "c.email c.id"),
    ("select (s.r).email from (select c as r from cust c) s", "c.email"),
    ("select (s.r).b from (select row(id, email)::app.pair as r from cust) s", "c.email"),
    ("select (p).a from boxed", "boxed.p"),
    ("select id from cust where email like 'a%' order by ssn limit 1", "c.id ~ c.email c.ssn"),
    ("select count(*), count(email) from cust having max(ssn) > 'a'", "- | (c.email) ~ c.ssn"),
    ("select max(email) filter (where ssn > 'a') from cust", "c.email (c.ssn) ~ c.ssn"),
    ("select string_agg(email, ',' order by name) from cust", "c.email (c.name) ~ c.name"),
    ("select array_agg(distinct email) from cust", "c.email"),
    (
        "select row_number() over (order by email), lag(ssn) over (partition by name) from cust",
        "- | c.ssn ~ c.email c.name",
    ),
    ("select region, sum(amount) from ord group by region", "o.region | o.amount ~ o.region"),
    ("select distinct email from cust", "c.email ~ c.email"),
    ("select grouping(region), region from ord group by rollup (region)", "(o.region) | o.region ~ o.region"),
    ("select (select email from cust c where c.id = o.cust_id) from ord o", "c.email ~ c.id o.cust_id"),
    ("select exists (select email from cust where ssn = 'a')", "(c.email) ~ c.ssn"),
    ("select array(select email from cust)", "c.email"),
    ("select id in (select id from cust) from ord", "c.id o.id"),
    ("select id from ord where id in (select id from cust where email = 'a')", "o.id ~ c.email c.id o.id"),
    ("select region from ord union all select email from cust", "c.email o.region"),
    ("select region from ord union select email from cust order by 1", "c.email o.region ~ c.email o.region"),
    ("select region from ord except select email from cust", "o.region (c.email) ~ c.email"),
    ("select * from (values (1, (select email from cust))) t (a, b)", "- | c.email"),
    ("with t as (select email as e from cust) select e from t", "c.email"),
    ("with t as (select email from cust where ssn = 'a') select 1", "-"),
    (
        "with recursive t (a, b) as (select email, ssn from cust union all select b, name from t, cust) select a, b from t",
        "c.email c.name c.ssn | c.name c.ssn",
    ),
    (
        "with t as (update cust set name = email where ssn = 'a' returning name) select * from t",
        "c.email (c.name) ~ c.ssn ; c.name <- c.email",
    ),
    ("select id from cust join ord using (id)", "c.id ~ c.id o.id"),
    ("select id from cust full join ord using (id)", "c.id o.id ~ c.id o.id"),
    ("select l.u from cust c, lateral (select upper(c.email) as u) l", "c.email"),
    ("select n from cust, unnest(string_to_array(email, '@')) with ordinality u (n, at)", "c.email"),
    ("select at from cust, unnest(string_to_array(email, '@')) with ordinality u (n, at)", "-"),
    (
        "select a, b from cust, rows from (unnest(array[email]), unnest(array[ssn])) u (a, b)",
        "c.email | c.ssn",
    ),
    ("select x.* from cust, xmltable('/a' passing (email::xml) columns b text path 'b') x", "c.email"),
    ("select f(email) from cust", "c.email f()"),
    ("select email @@@ name from cust", "c.email c.name f()"),
    ("select count(f(email)) from cust", "(c.email) (f())"),
    ("select case when ssn = 'a' then name else email end from cust", "c.email c.name c.ssn"),
    (
        "select case name when 'a' then 1 end, coalesce(name, email), greatest(name, ssn) from cust",
        "c.name | c.email c.name | c.name c.ssn",
    ),
    ("select (array[email, name])[id] from cust", "c.email c.id c.name"),
    ("select email is null, upper(email) is null from cust where ssn is not null", "(c.email) | c.email"),
    (
        "select e is null, n is null from (select email as e, nullif(email, 'a') as n from cust) t",
        "(c.email) | c.email",
    ),
    (
        "with t as (select email as e, upper(name) as n from cust) select e is null, n is null from t",
        "(c.email) | c.name",
    ),
    (
        "select (select email from cust limit 1) is null, (select max(email) from cust) is null, \
      (select email from cust limit 1) collate \"C\"",
        "(c.email) | c.email | c.email",
    ),
    ("select row(email, id) = row(name, 1) from cust", "c.email c.id c.name"),
    ("select email from cust tablesample system (10)", "c.email"),
    ("select $1::text || email from cust where id = $2", "c.email ~ c.id"),
    (
        "insert into ord (id, region) select id, email from cust where ssn = 'a'",
        "none ~ c.ssn ; o.id <- c.id ; o.region <- c.email",
    ),
    (
        "insert into cust (id, name) select id, region from ord returning name, email, cust",
        "o.region (c.name) | (c.email) | o.id o.region (c.*) ; c.id <- o.id ; c.name <- o.region",
    ),
    (
        "insert into cust (id, name) select id, region from ord on conflict (id) do update set email = excluded.name \
      where cust.ssn = 'a' returning email",
        "c.email o.region (c.name) ~ c.ssn ; c.email <- o.region (c.name) ; c.id <- o.id ; c.name <- o.region",
    ),
    ("update cust set name = email", "none ; c.name <- c.email"),
    ("update cust set name = name || email", "none ; c.name <- c.email (c.name)"),
    (
        "update cust set (name, email) = (select region, amount::text from ord where ord.id = cust.id)",
        "none ~ c.id o.id ; c.email <- o.amount ; c.name <- o.region",
    ),
    (
        "update ord set region = c.email from cust c where c.id = ord.cust_id returning region, ord.id",
        "c.email (o.region) | o.id ~ c.id o.cust_id ; o.region <- c.email",
    ),
    ("update v set e = 'x' where id = 1 returning e", "(c.email) ~ c.id ; c.email <- -"),
    (
        "update boxed set p.a = (select email from cust limit 1), tags[1] = 'x'",
        "none ; boxed.p <- c.email (boxed.p) ; boxed.tags <- (boxed.tags)",
    ),
    (
        "delete from cust using ord where cust.id = ord.cust_id returning email, region",
        "c.email | o.region ~ c.id o.cust_id",
    ),
    (
        "update ruled set note = (select email from cust limit 1)",
        "none ; kept.id <- ruled.id ; kept.was <- c.email ; ruled.note <- c.email",
    ),
];

/// What only later majors have.
const LATER: &[(u32, &str, &str)] = &[
    (
        14,
        "with recursive t as (select id, name from cust union all select id, name from t) \
      search depth first by name set sorted select name, sorted from t",
        "c.name | c.name",
    ),
    (
        15,
        "merge into cust c using ord o on c.id = o.cust_id when matched and o.amount > 1 then update set name = o.region \
      when not matched then insert (id, email) values (o.id, o.region)",
        "none ~ c.id o.amount o.cust_id ; c.email <- o.region ; c.id <- o.id ; c.name <- o.region",
    ),
    (16, "select json_object('a': email), email is json from cust", "c.email | c.email"),
    (
        16,
        "select any_value(email), json_arrayagg(name order by ssn) from cust",
        "c.email | c.name (c.ssn) ~ c.ssn",
    ),
    (
        17,
        "merge into cust c using ord o on c.id = o.cust_id when matched then update set name = o.region \
      returning merge_action(), c.name, o.amount",
        "- | c.name o.region | o.amount ~ c.id o.cust_id ; c.name <- o.region",
    ),
    (
        17,
        "select j.* from cust, json_table(email::jsonb, '$[*]' columns (a text path '$.a', n for ordinality)) j",
        "c.email | c.email",
    ),
    (
        17,
        "select json_value(email::jsonb, '$.a' passing name as x), json_exists(ssn::jsonb, '$') from cust",
        "c.email c.name | c.ssn",
    ),
    (
        18,
        "update cust set name = email returning old.name, new.name, old",
        "c.name | c.email (c.name) | c.* ; c.name <- c.email",
    ),
    (
        18,
        "select region, max(amount) from ord group by region having region > 'a'",
        "o.region | o.amount ~ o.region",
    ),
];

#[test]
fn the_flows_are_those_worked_out_by_hand() {
    if !mask_tests::have_root() {
        return;
    }
    let major = std::env::var("MASK_ORACLE_MAJOR").map_or(15, |major| major.parse().unwrap());
    let what = format!("cases-{}", std::process::id());
    // Dropped after the server, which stands in it.
    let _folder = mask_tests::Scratch(Server::folder(major, &what));
    let server = Server::start(major, &what).unwrap();
    server.database("oracle_cases", SCHEMA).unwrap();
    let mut session = observer(server.port, "oracle_cases", Some("app")).unwrap();
    let catalog = Catalog::load(&mut session).unwrap();
    let vocabulary = Vocabulary::of(major).unwrap();
    let later = LATER.iter().filter(|(since, ..)| *since <= major).map(|(_, sql, flows)| (*sql, *flows));
    let mut wrong = String::new();
    for (sql, flows) in CASES.iter().copied().chain(later) {
        let text = session.tree(sql).unwrap().map_err(|refused| format!("{sql}: {refused:?}")).unwrap();
        let tree = vocabulary.read(&text).map_err(WalkError::from);
        let found = tree.and_then(|tree| walk::statement(&tree, &vocabulary, &catalog.facts));
        let found = found.map_or_else(|error| error.to_string(), |statement| spoken(&catalog, &statement));
        if found != flows {
            write!(wrong, "\n{sql}\n  by hand  {flows}\n  the walk {found}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn spoken(catalog: &Catalog, statement: &Statement) -> String {
    let name = |column| {
        catalog.spoken(column).replace("app.cust.", "c.").replace("app.ord.", "o.").replace("app.", "")
    };
    let words = |flow: &Flow| {
        let mut words: Vec<_> = flow.required.iter().map(|column| name(*column)).collect();
        words.sort();
        let mut tolerated: Vec<_> =
            flow.tolerated.difference(&flow.required).map(|column| format!("({})", name(*column))).collect();
        tolerated.sort();
        words.append(&mut tolerated);
        words.extend(flow.opaque.iter().map(|_| "f()".into()));
        words.extend(flow.opaque_tolerated.iter().map(|_| "(f())".into()));
        if words.is_empty() { "-".into() } else { words.join(" ") }
    };
    let outputs =
        statement.outputs.as_ref().map(|flows| flows.iter().map(words).collect::<Vec<_>>().join(" | "));
    let mut text = outputs.unwrap_or_else(|| "none".into());
    let influence = Flow { required: statement.influence.required.clone(), ..Flow::default() };
    if influence != Flow::default() {
        write!(text, " ~ {}", words(&influence)).unwrap();
    }
    let mut writes: Vec<_> = statement
        .writes
        .iter()
        .map(|(target, flow)| format!(" ; {} <- {}", name(*target), words(flow)))
        .collect();
    writes.sort();
    text + &writes.concat()
}
