//! What `cargo xtask instructions` counts: `instructions CASE TIMES`, or `instructions list`, which says how often each
//! is to be done.
//!
//! Everything is done once before, so that what is done once for all is in every count and falls out of a difference.
//! That differs by some 100,000 from one run to the next, for hash maps are seeded by chance; what is short is done often.

use std::{collections::HashMap, hint::black_box};

use mask_core::lineage;

use self::{
    masks::{Rows, cases},
    statements::{EIGHT, PGBENCH, SEVENTEEN, decide, decide_job},
};

mod masks;
mod statements;

/// A case, how often it is done, and what it does.
type Case = (String, u32, Box<dyn FnMut() -> usize>);

/// How often a row is masked, or a decision found.
const SHORT: u32 = 20_000;
/// How often a short statement is read.
const STATEMENT: u32 = 500;
/// Terms or rows of a long statement.
const LONG: u32 = 20_000;
/// How often a join is read.
const JOIN: u32 = 50;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (name, times) = (arguments.next().unwrap_or_default(), arguments.next());
    let mut all = all();
    if name == "list" {
        for (name, times, _) in &all {
            println!("{times} {name}");
        }
        return;
    }
    for (_, _, work) in &mut all {
        black_box(work());
    }
    let times: u32 = times.and_then(|times| times.parse().ok()).unwrap_or_default();
    for (_, _, work) in all.iter_mut().filter(|(known, ..)| *known == name) {
        for _ in 0..times {
            black_box(work());
        }
    }
}

/// The first of the join order benchmark's statements in short: a join of seven tables.
const JOB: &str = "
    select min(chn.name), min(t.title)
    from char_name chn, cast_info ci, company_name cn, company_type ct, movie_companies mc, role_type rt, title t
    where ci.note like '%(voice)%' and cn.country_code = '[ru]' and rt.role = 'actor' and t.production_year > 2005
        and t.id = mc.movie_id and t.id = ci.movie_id and ci.movie_id = mc.movie_id and chn.id = ci.person_role_id
        and rt.id = ci.role_id and cn.id = mc.company_id and ct.id = mc.company_type_id";

fn all() -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    for (number, sql) in PGBENCH.into_iter().enumerate() {
        all.push((format!("read pgbench {number}"), STATEMENT, Box::new(move || decide(black_box(sql)))));
    }
    all.push(("read join of seven".to_owned(), JOIN, Box::new(|| decide_job(black_box(JOB)))));
    all.push(("read join of eight".to_owned(), JOIN, Box::new(|| decide(black_box(EIGHT)))));
    all.push(("read join of seventeen".to_owned(), JOIN, Box::new(|| decide(black_box(SEVENTEEN)))));
    // Whose effort is to grow with their length, and no faster.
    let terms: Vec<String> = (0..LONG).map(|number| format!("aid = {number}")).collect();
    let choice = format!("select abalance from pgbench_accounts where {}", terms.join(" or "));
    all.push(("read long choice".to_owned(), 1, Box::new(move || decide(black_box(&choice)))));
    let rows: Vec<String> = (0..LONG).map(|number| format!("({number}, '')")).collect();
    let load = format!("insert into city (id, name) values {}", rows.join(", "));
    all.push(("read long load".to_owned(), 1, Box::new(move || decide(black_box(&load)))));
    for (number, sql) in PGBENCH.into_iter().take(2).enumerate() {
        let mut key = Vec::new();
        assert!(lineage::template(sql, &mut key), "a statement of pgbench has a template");
        let known: HashMap<Box<[u8]>, usize> = HashMap::from([(key.as_slice().into(), decide(sql))]);
        let find = move || {
            lineage::template(black_box(sql), &mut key);
            known.get(key.as_slice()).copied().unwrap_or_default()
        };
        all.push((format!("known pgbench {number}"), SHORT, Box::new(find)));
    }
    for (name, ..) in cases() {
        if let Some(mut rows) = Rows::of(name) {
            all.push((format!("mask {name}"), SHORT, Box::new(move || rows.mask())));
        }
    }
    all
}
