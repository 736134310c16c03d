//! Statements of all sizes, and the tables they are about.

use std::sync::LazyLock;

use mask_core::{
    catalog::{Catalog, Column, Contents, Relation, RelationKind},
    lineage::{Env, Overlay, analyse},
    policy::{Classification, Policy, rule},
};

const INT4: u32 = 23;
const TEXT: u32 = 25;

/// The tables of a small shop and of pgbench; `email` and `phone` are masked.
const TABLES: [(&str, &[&str]); 14] = [
    ("pgbench_accounts", &["aid", "bid", "abalance", "filler"]),
    ("pgbench_tellers", &["tid", "bid", "tbalance", "filler"]),
    ("pgbench_branches", &["bid", "bbalance", "filler"]),
    ("pgbench_history", &["tid", "bid", "aid", "delta", "mtime", "filler"]),
    ("person", &["id", "name", "email", "phone", "city_id"]),
    ("city", &["id", "name", "country_id"]),
    ("country", &["id", "name", "code"]),
    ("product", &["id", "name", "maker_id", "price"]),
    ("maker", &["id", "name", "country_id"]),
    ("sale", &["id", "person_id", "product_id", "shop_id", "sold_at", "note"]),
    ("shop", &["id", "name", "city_id"]),
    ("tag", &["id", "word"]),
    ("product_tag", &["product_id", "tag_id"]),
    ("review", &["id", "sale_id", "stars", "body"]),
];

/// What pgbench sends by default.
pub const PGBENCH: [&str; 5] = [
    "SELECT abalance FROM pgbench_accounts WHERE aid = 4711;",
    "UPDATE pgbench_accounts SET abalance = abalance + -12 WHERE aid = 4711;",
    "UPDATE pgbench_tellers SET tbalance = tbalance + -12 WHERE tid = 3;",
    "UPDATE pgbench_branches SET bbalance = bbalance + -12 WHERE bid = 1;",
    "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (3, 1, 4711, -12, CURRENT_TIMESTAMP);",
];

/// Eight tables.
pub const EIGHT: &str = "
select min(p.name) as buyer, min(pr.name) as product, min(m.name) as maker
from person p, city c, country co, sale s, product pr, maker m, shop sh, country mc
where p.city_id = c.id and c.country_id = co.id and s.person_id = p.id and s.product_id = pr.id
  and pr.maker_id = m.id and s.shop_id = sh.id and m.country_id = mc.id
  and co.code = 'PT' and mc.code <> 'PT' and p.email like '%@example.org' and pr.price between 10 and 20
  and s.note in ('gift', 'sample') and sh.name not like '%outlet%'";

/// Seventeen tables.
pub const SEVENTEEN: &str = "
select min(p.name) as buyer, min(q.name) as friend, min(pr.name) as product, min(t.word) as word, max(r.stars) as stars
from person p, person q, city c, city d, city e, country co, country mc, sale s, sale u, product pr, product px,
     maker m, shop sh, tag t, product_tag pt, product_tag px_tag, review r
where p.city_id = c.id and q.city_id = d.id and c.country_id = co.id and d.country_id = co.id and s.person_id = p.id
  and u.person_id = q.id and s.product_id = pr.id and u.product_id = px.id and pr.maker_id = m.id and px.maker_id = m.id
  and m.country_id = mc.id and s.shop_id = sh.id and u.shop_id = sh.id and sh.city_id = e.id and pt.product_id = pr.id
  and px_tag.product_id = px.id and pt.tag_id = t.id and px_tag.tag_id = t.id and r.sale_id = s.id
  and co.code = 'PT' and mc.code in ('DE', 'FR', 'IT') and p.phone like '+351%' and q.email is not null and p.id <> q.id
  and t.word like 'c%' and r.stars > 3 and (pr.price < 20 or px.price < 20) and s.sold_at > u.sold_at";

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let relations = TABLES.iter().zip(20_001..).map(|((name, columns), oid)| {
        let columns = columns.iter().zip(1..).map(|(name, number)| {
            let type_oid = if name.ends_with("id") || name.ends_with("balance") { INT4 } else { TEXT };
            Column::new(number, name, type_oid)
        });
        Relation::new(oid, "public", name, RelationKind::Table, columns.collect())
    });
    Catalog::new(Contents { major: 17, relations: relations.collect(), ..Contents::default() })
});

static POLICY: LazyLock<Policy> = LazyLock::new(Policy::zero_config);
static CLASSES: LazyLock<Classification> = LazyLock::new(|| POLICY.classify(&CATALOG, &[]));

/// The tables of the join order benchmark.
static JOB_CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let text = include_str!("../../../../tests/oracle/schemas/imdb.sql").replace('\n', " ");
    let tables = text.split("create table ").skip(1).zip(20_001..).filter_map(|(table, oid)| {
        let (name, columns) = table.split_once(" (")?;
        let (columns, _) = columns.split_once(");")?;
        let columns = columns.split(',').zip(1..).filter_map(|(column, number)| {
            let (name, kind) = column.trim().split_once(' ')?;
            Some(Column::new(number, name, if kind == "int" { INT4 } else { TEXT }))
        });
        Some(Relation::new(oid, "public", name, RelationKind::Table, columns.collect()))
    });
    Catalog::new(Contents { major: 17, relations: tables.collect(), ..Contents::default() })
});

static JOB_CLASSES: LazyLock<Classification> = LazyLock::new(|| POLICY.classify(&JOB_CATALOG, &[]));

/// Reads and rules: how many uses of masked columns there are.
pub fn decide(sql: &str) -> usize {
    decide_over(sql, &CATALOG, &CLASSES)
}

/// The same over the tables of the join order benchmark.
pub fn decide_job(sql: &str) -> usize {
    decide_over(sql, &JOB_CATALOG, &JOB_CLASSES)
}

fn decide_over(sql: &str, catalog: &Catalog, classes: &Classification) -> usize {
    let overlay = Overlay::default();
    let env = Env { catalog, path: Some(vec!["public".to_owned()]), overlay: &overlay };
    let statements = analyse(sql, &env, classes).expect("what is measured is SQL");
    let ruled = statements.iter().map(|statement| rule(statement, catalog, classes, POLICY.usage_rules()));
    ruled.map(|ruled| ruled.budgeted.len() + ruled.taints.len()).sum()
}
